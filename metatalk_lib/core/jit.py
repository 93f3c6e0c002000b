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


def compile_part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a helper that loops of the same file call; its machine code is put in the place of every call.

    Without that, each call for a pixel would hand over all arrays of a bundle and count their owners up and down again,
    which doubles the time of a picture. The same file, because a loop on the disk is compiled anew only when its own
    file has changed.

    Args:
        function: loops, arithmetic and array elements only; it neither makes nor returns an array.

    Source: original to this project.
    """
    # `_nrt=False`: no counting of owners. A helper that makes an array then does not compile.
    options: dict[str, Any] = {"forceinline": True, "_nrt": False}
    compiled: Callable[..., Any] = numba.njit(cache=True, nogil=True, error_model="numpy", **options)(
        inspect.unwrap(function)
    )
    return compiled
