"""Whose images these are, by the DICOM files that they came from and the subjects of the maps."""

from pathlib import Path

from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.scene.attributes import DICOM_FILE

from .fill import subject_of


def one_patient(nodes):
    """A DICOM file of the patient of all images, or None where none came from DICOM.

    Args:
        nodes: volumes and drawings; None among them is passed over.
    Raises:
        InputError: they are those of different subjects or patients.
    """
    nodes = [node for node in nodes if node is not None]
    subjects = sorted({subject_of(node) for node in nodes} - {""})
    if len(subjects) > 1:
        raise InputError(f"The maps are those of {' and '.join(subjects)}; select maps of one subject and visit.")
    files = list(dict.fromkeys(path for node in nodes if (path := node.GetAttribute(DICOM_FILE))))
    known = [path for path in files if Path(path).is_file()]
    if len(known) > 1 and len({_patient(path) for path in known}) > 1:
        raise InputError(
            "The images are those of different patients by their DICOM headers; select images of one patient."
        )
    return known[0] if known else None


def _patient(path):
    import pydicom

    header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["PatientID", "IssuerOfPatientID"])
    return header.get("PatientID"), header.get("IssuerOfPatientID")
