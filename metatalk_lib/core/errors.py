"""The errors that MetaTalk raises on purpose.

Every message says what was expected, what was found, where, and what to do next, on one line.
"""


class MetaTalkError(Exception):
    """Root of all errors raised on purpose; the command line prints them as one line and exits with code 1."""


class ParameterError(MetaTalkError):
    """The caller's fault: an unknown parameter, a wrong type, a value out of range, arrays of unequal length."""


class DataError(MetaTalkError):
    """A file's fault: it is missing, truncated, silent, faceless, or was made with other parameters."""


class FaceError(DataError):
    """A video shows no face that can be followed: none, too small, in too few frames, or not the only one."""
