"""Maps as DICOM parametric maps: floating-point values with the code of their quantity and their unit in UCUM.

Patient and study are those of a DICOM image that the maps were made from; without one a study of its own is made, under
the label of the subject and without a name.
"""

import os
from pathlib import Path

import numpy as np

from .. import __version__
from ..errors import InputError

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
MANUFACTURER, PROGRAM = "QuantitativeMRI", "slicer-qmri"
IDENTITY = (
    "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime", "AccessionNumber",
    "ReferringPhysicianName",
)  # fmt: skip
SERIES = 9000  # number of the first series; scanners stay below
UNITS = {"/s": "per second", "%": "percent", "[ppm]": "parts per million"}


def study_of(path, subject):
    """A pydicom Dataset that says whose maps these are: as a DICOM file does, or made up under a subject's label."""
    import pydicom
    from pydicom.uid import MRImageStorage, generate_uid

    known = pydicom.dcmread(path, stop_before_pixels=True) if path and Path(path).is_file() else pydicom.Dataset()
    dataset = pydicom.Dataset()
    for name in IDENTITY:
        setattr(dataset, name, known.get(name, ""))
    for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(dataset, name, known.get(name) or generate_uid())
    dataset.SOPClassUID = known.get("SOPClassUID") or MRImageStorage
    dataset.PatientID = known.get("PatientID") or subject
    dataset.Modality = "MR"
    # highdicom looks at the place of the image that a map comes from; that of the map is given to it as well
    dataset.Rows = dataset.Columns = dataset.SliceThickness = 1
    dataset.ImagePositionPatient, dataset.PixelSpacing = [0, 0, 0], [1, 1]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    return dataset


def write_parametric_map(path, values, geometry, display, title, study, number):
    """Write one map as a DICOM parametric map (float) under its final name only when it is complete.

    Args:
        values: float32 [k, j, i]. geometry: its grid. display: display.Display with quantity and unit.
        title: series description. study: as `study_of`. number: of the map, from 0.
    Raises:
        InputError: highdicom is not installed.
    """
    try:
        import highdicom
    except ImportError:
        raise InputError(
            "DICOM maps need the package highdicom, which Slicer brings along; install it with pip install highdicom."
        ) from None
    import pydicom
    from pydicom.sr.coding import Code

    low, high = (float(v) for v in (values.min(), values.max()))
    mapping = highdicom.pm.RealWorldValueMapping(
        lut_label=display.name[:16],
        lut_explanation=f"{display.title}, {display.unit}"[:64],
        unit=Code(display.unit_code, "UCUM", UNITS.get(display.unit_code, display.unit)),
        value_range=(low, high if high > low else low + 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=Code(*display.quantity) if display.quantity else None,
    )
    frame = study.get("FrameOfReferenceUID") or pydicom.uid.generate_uid()
    volume = highdicom.Volume(
        np.ascontiguousarray(values, np.float32),
        lps_from_kji(geometry),
        coordinate_system="PATIENT",
        frame_of_reference_uid=frame,
    )
    window = display.window
    voi = highdicom.VOILUTTransformation((window[0] + window[1]) / 2, window[1] - window[0])
    made = highdicom.pm.ParametricMap(
        source_images=[study],
        pixel_array=volume,
        series_instance_uid=pydicom.uid.generate_uid(),
        series_number=SERIES + number,
        sop_instance_uid=pydicom.uid.generate_uid(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=PROGRAM,
        software_versions=__version__,
        device_serial_number="0",
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[voi],
        content_label=display.name.upper()[:16],
        content_description="Research use only"[:64],
    )
    made.SpecificCharacterSet = "ISO_IR 192"  # UTF-8: names of patients come in any script
    made.SeriesDescription = f"{title} (research)"[:64]
    save(made, path)


def save(dataset, path):
    """Write a dataset under its final name only when it is complete."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        dataset.save_as(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def lps_from_kji(geometry):
    """From indices [k, j, i] to LPS, mm."""
    matrix = RAS_TO_LPS @ geometry.ijk_to_ras
    return matrix[:, [2, 1, 0, 3]]
