"""Transmit field from the bias field that N4 finds in R1."""

import numpy as np
import SimpleITK

SPACING = 5.0  # mm, grid on which N4 works
ITERATIONS = (50, 50, 30)
KNOTS_APART = 60.0  # mm


def n4_log_bias(image, mask, geometry):
    """Logarithm of the bias field by N4, float32 [k, j, i], mean 0 in the mask.

    The bits do not depend on the number of threads: N4 runs on one.

    Args:
        image: float32 [k, j, i], positive in the mask. mask: bool [k, j, i]. geometry: voxel size, mm.
    Reference:
        Tustison NJ et al. 2010, IEEE Trans Med Imaging 29:1310-1320.
    """
    threads = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        full, inside = (SimpleITK.GetImageFromArray(a) for a in (image.astype(np.float32), mask.astype(np.uint8)))
        for each in (full, inside):
            each.SetSpacing(geometry.voxel_size[::-1])
        shrink = [max(1, round(SPACING / side)) for side in full.GetSpacing()]
        n4 = SimpleITK.N4BiasFieldCorrectionImageFilter()
        n4.SetMaximumNumberOfIterations(ITERATIONS)
        extent = [side * n for side, n in zip(full.GetSpacing(), full.GetSize(), strict=True)]
        n4.SetNumberOfControlPoints([3 + max(1, round(length / KNOTS_APART)) for length in extent])
        n4.Execute(SimpleITK.Shrink(full, shrink), SimpleITK.Shrink(inside, shrink))
        bias = SimpleITK.GetArrayFromImage(n4.GetLogBiasFieldAsImage(full))
    finally:
        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    return bias - np.float32(np.mean(bias[mask], dtype=np.float64))
