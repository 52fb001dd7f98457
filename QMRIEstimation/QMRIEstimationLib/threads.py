"""How many processor cores the engine uses, set once for all its libraries."""

import numba
import SimpleITK

from . import fft


def use_threads(number):
    """Let voxel loops, Fourier transforms and SimpleITK use `number` cores."""
    numba.set_num_threads(min(number, numba.config.NUMBA_NUM_THREADS))
    fft.set_workers(number)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(number)
