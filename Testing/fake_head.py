"""A head of ellipsoids with believable values, as an Estimate: for tests of pictures and reports, not of physics."""

import numpy as np
from QMRIEstimationLib.acquisition import Role, Scan, Session
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.maps import Estimate, QuantitativeMap
from QMRIEstimationLib.units import hz_per_ppm

TISSUES = (  # centre and half axes (mm; right, anterior, superior), R2*, R1, chi; later ones lie on top
    ((0, 0, 0), (66, 82, 62), 15.5, 0.65, 0.01),  # cortex
    ((0, 0, 0), (60, 76, 56), 20.0, 1.05, -0.02),  # white matter
    ((-9, 10, 8), (5, 22, 8), 2.0, 0.24, 0.0),  # ventricles
    ((9, 10, 8), (5, 22, 8), 2.0, 0.24, 0.0),
    ((-13, -12, -2), (7, 12, 8), 20.5, 0.8, 0.02),  # thalami
    ((13, -12, -2), (7, 12, 8), 20.5, 0.8, 0.02),
    ((-25, 8, -4), (5, 14, 8), 27.0, 0.75, 0.05),  # putamina
    ((25, 8, -4), (5, 14, 8), 27.0, 0.75, 0.05),
    ((-19, 4, -6), (4, 8, 6), 39.0, 0.95, 0.13),  # pallida
    ((19, 4, -6), (4, 8, 6), 39.0, 0.95, 0.13),
    ((-22, 30, 22), (6, 5, 5), 13.0, 0.6, 0.03),  # a lesion
)


def grid(matrix, shape):
    """RAS (mm) of every voxel: [3, k, j, i]."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    return np.einsum("ab,bkji->akji", matrix[:3, :3], np.array([i, j, k], float)) + matrix[:3, 3, None, None, None]


def centred(columns, shape):
    """An IJK-to-RAS matrix with the given columns (mm) whose grid is centred at the origin."""
    matrix = np.eye(4)
    matrix[:3, :3] = columns
    matrix[:3, 3] = -matrix[:3, :3] @ (np.array(shape[::-1]) - 1) / 2
    return matrix


def fake_estimate(voxel=2.0, field_strength=3.0, subject="01", notes=(), session="", seed=5):
    """An Estimate of R2*, R1 and chi with field pictures on an axial grid of isotropic voxels (mm)."""
    rng = np.random.default_rng(seed)
    shape = tuple(round(size / voxel) for size in (160, 200, 170))
    geometry = Geometry(shape, centred(np.diag([-voxel, -voxel, voxel]), shape))
    ras = grid(geometry.ijk_to_ras, shape)
    values = np.zeros((3, *shape))
    for centre, half, *numbers in TISSUES:
        inside = _ellipsoid(ras, centre, half)
        values[:, inside] = np.array(numbers)[:, None]
    brain = _ellipsoid(ras, *TISSUES[0][:2])
    head = _ellipsoid(ras, (0, 0, 0), (76, 92, 74))
    scalp = head & ~_ellipsoid(ras, (0, 0, 0), (71, 87, 69))
    noise = rng.standard_normal((4, *shape))
    r2star = np.where(head, values[0] + 0.8 * noise[0] * (field_strength / 3), 0)
    magnitude = np.where(brain, 700 - 6 * values[0], np.where(scalp, 900, 12)) + 10 * noise[3]
    total = hz_per_ppm(field_strength) * (
        0.25 * np.exp(-(((ras[1] - 70) / 30) ** 2) - ((ras[2] + 40) / 25) ** 2) + 0.05
    )
    local = hz_per_ppm(field_strength) * 0.5 * values[2] + 0.3 * noise[1]
    scan = Scan(
        role=Role.MULTI_ECHO_GRE,
        name=f"sub-{subject}_MEGRE",
        geometry=geometry,
        read=lambda: None,
        echo_times=(0.005, 0.010, 0.015, 0.020, 0.025, 0.030),
        flip_angle=np.radians(15),
        repetition_time=0.038,
        field_strength=field_strength,
        has_phase=True,
        phase_polarity=1,
        manufacturer="digital patient",
        sources=(f"sub-{subject}/anat/sub-{subject}_echo-1_part-mag_MEGRE.nii.gz",),
        origin={"echo_times": "sidecar", "flip_angle": "sidecar", "field_strength": "sidecar"},
    )

    def made(name, array, sd, valid, method, reference):
        return QuantitativeMap(
            name=name, values=array, sd=np.full(shape, sd), quality=np.ones(shape), valid=valid, geometry=geometry,
            algorithm=method, reference=reference, quality_meaning="share of signal explained",
        )  # fmt: skip

    holes = brain & ~((np.abs(ras[0] - 30) < 3) & (np.abs(ras[1]) < 6))
    maps = {
        "R2star": made("R2star", r2star, 0.8, holes, "nonlinear least squares with Rician mean", "A. Author 2009"),
        "Chi": made("Chi", values[2] + 0.004 * noise[2], 0.004, brain, "V-SHARP and closed form", "B. Author 2014"),
        "R1": made("R1", values[1] + 0.02 * noise[1], 0.02, brain, "variable flip angles", "C. Author 2003"),
    }
    images = {
        "total_field": total * brain,
        "local_field": local * brain,
        "wrapped_phase": np.angle(np.exp(2j * np.pi * total * 0.03)) * head,
        "field_residual": np.abs(0.05 * noise[2]) * brain,
    }
    return Estimate(
        session=Session(subject, session, (scan,)),
        maps=maps,
        geometry=geometry,
        brain_mask=brain,
        magnitude=magnitude.astype(np.float32),
        images={name: image.astype(np.float32) for name, image in images.items()},
        notes=tuple(notes),
        figures={"noise_sd": 10.02, "brain_volume_ml": 1405.2, "phase_sign": "+1"},
        timings={"reading": 1.0},
    )


def fake_record(**changed):
    """A provenance record with every key of the contract."""
    return {
        "software": {"name": "slicer-qmri", "version": "0.1.0", "python": "3.11.7", "packages": {"numpy": "2.4.6"}},
        "command": "slicer-qmri run in out participant",
        "started": "2026-11-23T10:00:00Z",
        "duration_s": 61.5,
        "parameters": {"qsm": {"method": "closed form", "field": {"threshold": 0.1}}, "mask": {"opening": 2.0}},
        "inputs": [{"file": "sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz", "sha256": "ab" * 32}],
        "outputs": ["sub-01/anat/sub-01_R2starmap.nii.gz"],
        "warnings": [],
        "figures": {},
        "status": "done",
    } | changed


def _ellipsoid(ras, centre, half):
    return sum(((ras[axis] - centre[axis]) / half[axis]) ** 2 for axis in range(3)) < 1
