"""Compilation of inner loops in a way that also works while the tests check the shapes of every function."""

import inspect
from collections.abc import Callable
from typing import Any

import numba


def compile_loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of loops over arrays; the machine code is cached on disk and releases the interpreter lock.

    No flag lets the compiler change rounding: it would apply such a flag differently to a freshly compiled loop and to
    the same loop read from the disk, and a first run would draw other pixels than all later ones.

    The shape checker of the tests wraps every imported function, and a wrapper cannot be compiled, so the wrapped
    function is compiled.

    Args:
        function: function made only of loops, arithmetic and array elements.

    Source: original to this project.
    """
    return numba.njit(cache=True, nogil=True, error_model="numpy")(inspect.unwrap(function))
