"""The errors that MetaTalk raises on purpose.

Every message says what was expected, what was found, where, and what to do next, on one line.
"""


class MetaTalkError(Exception):
    """Root of all errors raised on purpose; the command line prints them as one line and exits with code 1."""


class ParameterError(MetaTalkError):
    """An error of the caller: an unknown parameter, a wrong type, a value out of range, arrays of unequal length."""


class DataError(MetaTalkError):
    """An error in a file: it is missing, truncated, silent, faceless, or was made with other parameters."""


class FaceError(DataError):
    """No face in a video can be tracked: there is none, it is too small, in too few frames, or not the only one."""
