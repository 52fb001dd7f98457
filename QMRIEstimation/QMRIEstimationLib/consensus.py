"""What the QSM consensus asks a paper to report: the acquisition, every step with all its parameters, the reference."""

import math

import numpy as np

from .parameters import as_user_dict
from .qsm.background import BACKGROUND_METHODS
from .qsm.chain import GIVEN_LOCAL_FIELD
from .qsm.field_fit import WEIGHTED_MEAN
from .qsm.inversion import INVERSION_METHODS
from .qsm.method import settings_of
from .units import to_user

REFERENCE = "QSM Consensus Organization Committee 2024, Magn Reson Med 91:1834-1862, doi:10.1002/mrm.30006"
HEADER = {  # what the consensus asks for: (field of the sidecar, unit, whether it is essential)
    "Field strength": ("MagneticFieldStrength", "T", True),
    "Vendor": ("Manufacturer", "", True),
    "Model": ("ManufacturersModelName", "", False),
    "Software": ("SoftwareVersions", "", False),
    "Receive coil": ("ReceiveCoilName", "", False),
    "Sequence": ("PulseSequenceType", "", True),
    "Dimension": ("MRAcquisitionType", "", True),
    "Centre frequency": ("ImagingFrequency", "MHz", False),
    "Bandwidth": ("PixelBandwidth", "Hz/pixel", True),
    "Parallel imaging factor": ("ParallelReductionFactorInPlane", "", True),
    "Partial Fourier": ("PartialFourier", "", True),
}
_AXIAL = 2.0  # degrees of tilt below which a scan is called axial, coronal or sagittal
_PLANES = {0: "sagittal", 1: "coronal", 2: "axial"}


def consensus_record(scan, settings, result, fieldmap, stages):
    """The table as a dictionary of texts and numbers, for the sidecar of chi.

    Args:
        scan: acquisition.Scan. settings: chain.QsmOptions. result: chain.Susceptibility.
        fieldmap: field.FieldMap. stages: names of the stages that were given, as acquisition.GivenField.kind.
    """
    acquisition, missing = _acquisition(scan, fieldmap)
    return {
        "Guideline": REFERENCE,
        "Acquisition": acquisition,
        "NotStatedByTheHeader": missing,
        "Processing": _processing(settings, stages, len(scan.echo_times)),
        "Reference": {
            "Region": _region(settings),
            "OffsetTakenOffPpm": round(result.reference_offset, 6),
            "MeanOfRegionToWholeBrainPpm": round(result.reference_mean, 6) + 0.0,
            "SdOfRegionPpm": round(result.reference_sd, 6),
            "MeanOfVentriclesInMapPpm": None if result.csf_mean is None else round(result.csf_mean, 6),
        },
        "BrainCoveragePercent": round(100 * result.coverage, 1),
        "Units": "ppm",
    }


def consensus_paragraph(record):
    """The same as sentences for a methods section."""
    a = record["Acquisition"]
    parts = [f"{a[name]}" for name in ("Vendor", "Model") if name in a]
    where = f" on a {' '.join(parts)}" if parts else ""
    kind = " ".join(part for part in (a.get("Dimension"), "gradient-echo scan") if part)
    scan = (
        f"Phase and magnitude of a {kind} ({a['Orientation']}, {a['Readout']} readout, {a['Echoes']}) were acquired"
        f"{where} at {a.get('Field strength', 'unknown field strength')}, with voxels of {a['Voxel size']}."
    )
    steps = [f"{name.lower()}: {step['Method']}" for name, step in record["Processing"].items() if "Method" in step]
    reference = record["Reference"]
    return (
        f"{scan} Susceptibility was mapped by these steps: {'; '.join(steps)}. It is given in ppm relative to "
        f"{reference['Region']} ({reference['OffsetTakenOffPpm']:+.4f} ppm were taken off), for "
        f"{record['BrainCoveragePercent']:g} % of the brain mask."
    )


def _acquisition(scan, fieldmap):
    """(name -> text, names of essential fields that the header lacks)."""
    found, missing = {}, []
    for name, (key, unit, essential) in HEADER.items():
        value = scan.header.get(key)
        if key == "MagneticFieldStrength":
            value = scan.field_strength
        if value is not None:
            found[name] = f"{value} {unit}".rstrip() if not isinstance(value, list) else " ".join(map(str, value))
        elif essential:
            missing.append(name)
    times = [to_user(t, "s") for t in scan.echo_times]
    spacing = np.diff(times)
    even = len(times) > 2 and np.ptp(spacing) < 0.02 * spacing.mean()
    found["Echoes"] = (
        f"{len(times)} echoes, TE {times[0]:.4g}:{spacing.mean():.4g}:{times[-1]:.4g} ms"
        if even
        else "TE " + ", ".join(f"{t:.4g}" for t in times) + " ms"
    )
    if scan.repetition_time is not None:
        found["Repetition time"] = f"{to_user(scan.repetition_time, 's'):.5g} ms"
    if scan.flip_angle is not None:
        found["Flip angle"] = f"{to_user(scan.flip_angle, 'rad'):.4g} degrees"
    found["Orientation"] = _orientation(scan.geometry)
    found["Readout"] = "alternating (bipolar)" if fieldmap.alternating else "one-direction (monopolar)"
    shape, size = scan.geometry.shape[::-1], scan.geometry.voxel_size[::-1]
    found["Matrix"] = " x ".join(str(n) for n in shape)
    found["Field of view"] = " x ".join(f"{n * h:.4g}" for n, h in zip(shape, size, strict=True)) + " mm"
    found["Voxel size"] = " x ".join(f"{h:.3g}" for h in scan.geometry.effective_voxel_size[::-1]) + " mm"
    return found, missing


def _orientation(geometry):
    """`axial`, or `axial, tilted by 22 degrees`: the anatomical plane nearest to the slices [k]."""
    normal = np.asarray(geometry.ijk_to_ras, float)[:3, 2]
    normal = np.abs(normal) / np.linalg.norm(normal)
    axis = int(np.argmax(normal))
    tilt = math.degrees(math.acos(min(float(normal[axis]), 1.0)))
    return _PLANES[axis] + (f", tilted by {tilt:.0f} degrees" if tilt >= _AXIAL else "")


def _processing(settings, stages, echoes):
    """Step -> method, its paper and all its parameters."""
    background = BACKGROUND_METHODS[settings.background.method]
    inversion = INVERSION_METHODS[settings.inversion.method]
    steps = {}
    if {"total_field", "local_field"} & set(stages):
        steps["Field map"] = {"Method": f"given {'total' if 'total_field' in stages else 'local'} field"}
    else:
        turns = "unwrapped by the user" if "unwrapped_phase" in stages else "ROMEO in space and along the echoes"
        fit = settings.field.fit
        fit += "" if fit == WEIGHTED_MEAN or echoes == 1 else ", corrected for decay that differs within voxels"
        steps["Field map"] = {
            "Method": f"{turns}; phase offset {settings.field.offset}; echoes combined by {fit}",
            "Parameters": as_user_dict(settings.field),
        }
    steps["Phase quality"] = {"Method": f"used as {settings.quality.use}"}
    if "local_field" in stages:
        steps["Background field removal"] = {"Method": GIVEN_LOCAL_FIELD}
    else:
        steps["Background field removal"] = _step(background, settings.background)
    steps["Dipole inversion"] = _step(inversion, settings.inversion)
    return steps


def _step(method, options):
    return {
        "Method": method.title,
        "Reference": method.reference,
        "Parameters": as_user_dict(settings_of(options, options.method)),
    }


def _region(settings):
    named = {"csf": "the fluid of the ventricles", "segment": f"the segment {settings.reference.segment}"}
    return named.get(settings.reference.region, "the mean of the whole brain mask")
