"""DICOM images of an MR scanner, written with pydicom alone: one file a slice, or one enhanced file for all."""

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def _base(values, fields, kind):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = kind
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Modality, dataset.PatientID, dataset.PatientName = "MR", "P1", "Doe^Jane"
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = values.astype(np.uint16).tobytes()
    for name, value in fields.items():
        setattr(dataset, name, value)
    return dataset


def _axes(matrix):
    """Directions and sizes of columns (i), rows (j) and slices (k) in LPS from an IJK-to-RAS matrix."""
    lps = LPS @ matrix
    sizes = np.linalg.norm(lps[:3, :3], axis=0)
    return lps, lps[:3, :3] / sizes, sizes


def write_classic(folder, values, matrix, fields, shuffle=None):
    """One file a slice of `values` (whole numbers [k, j, i]); `shuffle` gives the order of the file names."""
    folder.mkdir(parents=True, exist_ok=True)
    lps, directions, sizes = _axes(matrix)
    order = shuffle if shuffle is not None else range(len(values))
    study = {"StudyInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid()} | fields
    for name, k in enumerate(order):
        dataset = _base(values[k], study, pydicom.uid.MRImageStorage)
        dataset.ImagePositionPatient = [float(v) for v in (lps @ [0, 0, k, 1])[:3]]
        dataset.ImageOrientationPatient = [float(v) for v in (*directions[:, 0], *directions[:, 1])]
        dataset.PixelSpacing = [float(sizes[1]), float(sizes[0])]
        dataset.InstanceNumber = int(k) + 1
        dataset.save_as(folder / f"{fields['SeriesNumber']}_{name:03d}", enforce_file_format=True)


def write_enhanced(path, frames, matrix, shared, per_frame):
    """One enhanced file; frames [n, j, i], `per_frame` gives (k, echo time in ms, component) of each."""
    lps, directions, sizes = _axes(matrix)
    dataset = _base(frames, shared, pydicom.uid.EnhancedMRImageStorage)
    dataset.NumberOfFrames = len(frames)
    common = Dataset()
    common.PixelMeasuresSequence = Sequence([Dataset()])
    common.PixelMeasuresSequence[0].PixelSpacing = [float(sizes[1]), float(sizes[0])]
    common.PlaneOrientationSequence = Sequence([Dataset()])
    common.PlaneOrientationSequence[0].ImageOrientationPatient = [
        float(v) for v in (*directions[:, 0], *directions[:, 1])
    ]
    common.MRTimingAndRelatedParametersSequence = Sequence([Dataset()])
    common.MRTimingAndRelatedParametersSequence[0].FlipAngle = 15.0
    common.MRTimingAndRelatedParametersSequence[0].RepetitionTime = 30.0
    dataset.SharedFunctionalGroupsSequence = Sequence([common])
    groups = []
    for k, echo_time, component in per_frame:
        group = Dataset()
        group.PlanePositionSequence = Sequence([Dataset()])
        group.PlanePositionSequence[0].ImagePositionPatient = [float(v) for v in (lps @ [0, 0, k, 1])[:3]]
        group.MREchoSequence = Sequence([Dataset()])
        group.MREchoSequence[0].EffectiveEchoTime = echo_time
        group.MRImageFrameTypeSequence = Sequence([Dataset()])
        group.MRImageFrameTypeSequence[0].ComplexImageComponent = component
        group.PixelValueTransformationSequence = Sequence([Dataset()])
        group.PixelValueTransformationSequence[0].RescaleSlope = 2.0
        group.PixelValueTransformationSequence[0].RescaleIntercept = -100.0
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    dataset.save_as(path, enforce_file_format=True)
