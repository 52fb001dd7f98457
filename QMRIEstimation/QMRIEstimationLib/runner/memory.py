"""How much memory a subject will need, from the headers of its images, and how much the machine has."""

import os
from pathlib import Path

import nibabel

from ..io.derivatives import session_folder
from .unit import RAW_FOLDERS

GB = 2**30
# Fitted to runs of this program: 160x192x144 all maps 2.4 GB, its R2* and QSM 1.5 GB, 448x448x72 R2* and QSM 2.6 GB
BASE = 0.5 * GB  # interpreter and libraries
PER_BYTE = 1.8  # of all images as float32
PER_VOXEL = 143  # bytes a voxel of the largest grid, for fields and transforms
SAFETY = 1.1
SHARE = 0.9  # of the memory of the machine that is used


def needed_memory(bids_dir, unit):
    """Bytes that a unit is taken to need; files without a readable header count nothing (the run will name them)."""
    voxels, largest = 0, 0
    for folder in RAW_FOLDERS:
        for path in sorted(session_folder(Path(bids_dir), *unit).glob(f"{folder}/*.nii*")):
            try:
                shape = nibabel.load(path).shape
            except (OSError, ValueError, nibabel.filebasedimages.ImageFileError):
                continue
            grid = shape[0] * shape[1] * (shape[2] if len(shape) > 2 else 1)
            frames = shape[3] if len(shape) > 3 else 1
            voxels += grid * frames
            largest = max(largest, grid)
    return round(SAFETY * (BASE + PER_BYTE * 4 * voxels + PER_VOXEL * largest))


def machine_memory():
    """Bytes that may be used on this machine."""
    if hasattr(os, "sysconf"):
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    else:
        whole = _windows_memory()
    return round(SHARE * min(whole, _limit_of_group() or whole))


def _limit_of_group():
    """Limit that a batch system or container sets (cgroup), bytes, or None."""
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return int(Path(name).read_text())
        except (OSError, ValueError):
            continue
    return None


def _windows_memory():
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in "total free page free_page virtual free_virtual more".split()),
        )

    status = Status(ctypes.sizeof(Status))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return status.total
