"""One way to compile inner loops, so that they also compile while the tests check the shapes of every function."""

import inspect
from collections.abc import Callable

import numba


def compile_loop(function: Callable) -> Callable:
    """Compile a function of loops over arrays; the machine code is kept on disk and runs without interpreter lock.

    No flag lets the compiler change rounding: it would use it differently in a loop just compiled than in the same one
    read from the disk, and a first run would draw other pixels than all later ones.

    The shape checker of the tests wraps every function it imports, and a wrapper cannot be compiled, so the function
    inside is taken.

    Args:
        function: loops, arithmetic and array elements only.

    Source: original to this project.
    """
    return numba.njit(cache=True, nogil=True, error_model="numpy")(inspect.unwrap(function))
