"""Staged lesions in DICOM: a segmentation with the stage of each lesion, and a structured report of measurements.

The report follows template TID 1500, is not verified, and both series say that they are for research.
"""

import numpy as np
from QMRIEstimationLib import __version__
from QMRIEstimationLib.display import display_of
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.io.dicom_maps import MANUFACTURER, PROGRAM, SERIES, UNITS, lps_from_kji, save

from . import dicom_codes as known
from .calls import COLORS, changed, rim_of_row, stage_of_row
from .staging import MAPS

SEGMENTATION, REPORT = SERIES + 100, SERIES + 101  # numbers of the series


def write_lesions(folder, name, tables, geometry, study):
    """Write `<name>_lesions_seg.dcm` and `<name>_lesions_sr.dcm`.

    Args:
        folder: pathlib.Path. tables: lesion_table.LesionTables. geometry: of their labels.
        study: as io.dicom_maps.study_of gives it: patient, study and frame of reference.
    Returns:
        Names of the files.
    Raises:
        InputError: there is no lesion, or highdicom is not installed.
    """
    if not tables.rows:
        raise InputError("There is no lesion to write; stage the lesions first.")
    try:
        import highdicom  # noqa: F401  # the sentence belongs here, not in the middle
    except ImportError:
        raise InputError(
            "DICOM needs the package highdicom, which Slicer brings along; install it with pip install highdicom."
        ) from None
    segmentation = _segmentation(tables, geometry, study)
    report = _report(tables, segmentation, study)
    names = f"{name}_lesions_seg.dcm", f"{name}_lesions_sr.dcm"
    for file, dataset in zip(names, (segmentation, report), strict=True):
        save(dataset, folder / file)
    return names


def _segmentation(tables, geometry, study):
    """One binary segment a lesion; its stage modifies the type of the segment."""
    import highdicom as hd
    from pydicom.uid import generate_uid

    numbers = [row["lesion"] for row in tables.rows]
    lookup = np.zeros(int(tables.labels.max()) + 1, np.uint16)
    lookup[numbers] = np.arange(1, len(numbers) + 1)
    volume = hd.Volume(
        lookup[tables.labels],
        lps_from_kji(geometry),
        coordinate_system="PATIENT",
        frame_of_reference_uid=study.FrameOfReferenceUID,
    )
    made_by = hd.AlgorithmIdentificationSequence(
        PROGRAM, _code(("123110", "DCM", "Artificial Intelligence")), __version__
    )
    segments = []
    for n, row in enumerate(tables.rows, 1):
        segment = hd.seg.SegmentDescription(
            segment_number=n,
            segment_label=f"Lesion {row['lesion']}: {stage_of_row(row)}"[:64],
            segmented_property_category=_code(known.ABNORMAL),
            segmented_property_type=_code(known.LESION),
            algorithm_type="SEMIAUTOMATIC",
            algorithm_identification=made_by,
            tracking_uid=_tracking_uid(study, row),
            tracking_id=f"lesion {row['lesion']}",
            anatomic_regions=[_code(known.WHITE_MATTER)],
            display_color=hd.color.CIELabColor.from_rgb(*(round(255 * c) for c in COLORS[stage_of_row(row)])),
        )
        stage = _code(known.STAGE_CODES[stage_of_row(row)])
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [stage]
        segments.append(segment)
    made = hd.seg.Segmentation(
        source_images=[study],
        pixel_array=volume,
        segmentation_type="BINARY",
        segment_descriptions=segments,
        series_instance_uid=generate_uid(),
        series_number=SEGMENTATION,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=PROGRAM,
        software_versions=__version__,
        device_serial_number="0",
        content_label="LESIONS",
        content_description="MS lesions by stage, research use only",
    )
    return _finish(made, "MS lesions by stage (research)")


def _report(tables, segmentation, study):
    """Measurement report with one group a lesion."""
    import highdicom as hd
    from pydicom.uid import generate_uid

    device = hd.sr.ObserverContext(
        observer_type=_code(("121007", "DCM", "Device")),
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=generate_uid(entropy_srcs=[PROGRAM, __version__]),
            name=PROGRAM,
            manufacturer_name=MANUFACTURER,
            model_name=f"{PROGRAM} {__version__}",
        ),
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=device, **_reader(tables.rows)),
        procedure_reported=_code(known.BRAIN_MRI),
        imaging_measurements=[_group(n, row, segmentation, study) for n, row in enumerate(tables.rows, 1)],
        title=_code(("126000", "DCM", "Imaging Measurement Report")),
    )
    made = hd.sr.Comprehensive3DSR(
        evidence=[segmentation],
        content=content,
        series_instance_uid=generate_uid(),
        series_number=REPORT,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    return _finish(made, "MS lesions, measurements (research)")


def _reader(rows):
    """The person who called lesions, where exactly one did."""
    import highdicom as hd

    readers = {row["reader"] for row in rows if changed(row)}
    if len(readers) != 1:
        return {}
    person = hd.sr.PersonObserverIdentifyingAttributes(name=f"{readers.pop()}^")
    context = hd.sr.ObserverContext(_code(("121006", "DCM", "Person")), person)
    return {"observer_person_context": context}


def _group(n, row, segmentation, study):
    """Measurements and calls of one lesion."""
    import highdicom as hd

    measured = [_measured(known.VOLUME, row["volume_mm3"], known.MM3)]
    measured.append(_measured(known.DIAMETER, row["max_diameter_mm"], known.MM))
    if row["rim_coverage"] is not None:
        measured.append(_measured(known.RIM_COVERAGE, 100 * row["rim_coverage"], known.PERCENT))
    for name in MAPS:
        difference, reference = row.get(f"{name}_delta"), row.get(f"{name}_reference")
        display = display_of(name)
        if difference is None or reference is None or not display.quantity:
            continue
        unit = display.unit_code, "UCUM", UNITS.get(display.unit_code, display.unit)
        measured.append(_measured(display.quantity, reference + difference, unit, known.MEAN))
        measured.append(_measured(display.quantity, difference, unit, known.DIFFERENCE))
    calls = (
        (known.STAGE, known.STAGE_CODES[stage_of_row(row)]),
        (known.RIM, known.RIM_CODES[rim_of_row(row)]),
        (known.ENHANCEMENT, known.ENHANCEMENT_CODES[row["enhancement"]]),
    )
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(_tracking_uid(study, row), f"lesion {row['lesion']}"),
        referenced_segment=hd.sr.ReferencedSegment(
            segmentation.SOPClassUID,
            segmentation.SOPInstanceUID,
            n,
            source_series=hd.sr.SourceSeriesForSegmentation(study.SeriesInstanceUID),
        ),
        finding_type=_code(known.LESION),
        finding_sites=[hd.sr.FindingSite(_code(known.WHITE_MATTER))],
        measurements=measured,
        qualitative_evaluations=[hd.sr.QualitativeEvaluation(_code(name), _code(value)) for name, value in calls],
    )


def _measured(name, value, unit, derivation=None):
    import highdicom as hd

    how = None if derivation is None else _code(derivation)
    return hd.sr.Measurement(_code(name), float(f"{value:.6g}"), _code(unit), derivation=how)


def _code(triple):
    import highdicom as hd

    return hd.sr.CodedConcept(*triple)


def _tracking_uid(study, row):
    """The same for a lesion of a study in every file."""
    from pydicom.uid import generate_uid

    return generate_uid(entropy_srcs=[study.StudyInstanceUID, f"lesion {row['lesion']}"])


def _finish(dataset, title):
    """Title, characters, and who is responsible for the private codes."""
    from pydicom import Dataset

    dataset.SpecificCharacterSet = "ISO_IR 192"  # UTF-8: names of patients come in any script
    dataset.SeriesDescription = title
    scheme = Dataset()
    scheme.CodingSchemeDesignator = known.SCHEME
    scheme.CodingSchemeName = "Codes of the QuantitativeMRI extension, listed in its README"
    scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
    dataset.CodingSchemeIdentificationSequence = [scheme]
    return dataset
