"""How voxel loops are compiled: one decorator, cached on disk, also when the package lies in a read-only folder."""

import os
import tempfile

import numba


def _writable_cache():
    """Point numba to a temporary cache when neither the package nor the home folder can be written."""
    if "NUMBA_CACHE_DIR" in os.environ or os.access(os.path.dirname(__file__), os.W_OK):
        return
    home = os.path.expanduser("~")
    if not os.access(home, os.W_OK):
        user = getattr(os, "getuid", lambda: "user")()  # Windows has none
        numba.config.CACHE_DIR = os.path.join(tempfile.gettempdir(), f"slicer-qmri-kernels-{user}")


_writable_cache()


def kernel(function=None, *, fastmath=False):
    """Compile a voxel loop, which `threads.in_pieces` runs on all cores, or a function that such loops call.

    `fastmath` (True or a set of LLVM flags) only where NaN and Inf cannot occur, or without the flags that assume so.
    """
    compile_ = numba.njit(cache=True, fastmath=fastmath, nogil=True, error_model="numpy")
    return compile_ if function is None else compile_(function)
