"""Differences between headers that break R1 and proton density."""

import pytest
from QMRIEstimationLib.receive_settings import receive_differences

SIEMENS = {"Manufacturer": "Siemens", "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"], "TxRefAmp": 220.0,
           "ReceiveCoilName": "HeadNeck_64", "ReceiveCoilActiveElements": "HC1-7", "CoilCombinationMethod": "Sum of Squares"}  # fmt: skip  # noqa: E501
PHILIPS = {"Manufacturer": "Philips", "PhilipsRescaleSlope": 0.8, "PhilipsScaleSlope": 0.0005,
           "UsePhilipsFloatNotDisplayScaling": 1}  # fmt: skip


def test_scans_made_alike_have_no_differences():
    found = receive_differences({"flip-1": SIEMENS, "flip-2": dict(SIEMENS)})
    assert found.sentences == ()
    assert found.intensity_factors == found.flip_angle_factors == {"flip-1": 1.0, "flip-2": 1.0}


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("ImageType", ["ORIGINAL", "PRIMARY", "M", "DIS2D"], "normalising filter"),
        ("ImageType", "ORIGINAL\\PRIMARY\\M\\NORM\\ND", "distortion correction"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS3D"], "distortion correction"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D", "FILTERED"], "image filter"),
        ("ReceiveCoilName", "Body", "receive coils"),
        ("ReceiveCoilActiveElements", "HC1-6", "coil elements"),
        ("CoilCombinationMethod", "Adaptive Combine", "combination"),
    ],
)
def test_difference_of_unknown_size_refuses_and_names_scan_and_cause(field, value, word):
    found = receive_differences({"flip-1": SIEMENS, "flip-2": SIEMENS | {field: value}})
    assert len(found.refused) == 1
    assert word in found.refused[0]
    assert "flip-2" in found.refused[0]
    assert "R1 and PD cannot be made" in found.refused[0]
    assert found.corrected == ()


@pytest.mark.parametrize("field", ["ReceiverGain", "TransmitGain", "RescaleSlope"])
def test_gain_of_unknown_unit_refuses(field):
    found = receive_differences({"a": {field: 13.0}, "b": {field: 15.0}})
    assert len(found.refused) == 1
    assert f"({field}: a 13.0, b 15.0)" in found.refused[0]


def test_enhanced_dicom_words_are_read_too():
    first = {"ImageType": ["ORIGINAL", "PRIMARY", "M", "NONE"], "ImageTypeText": ["ORIGINAL", "PRIMARY", "M", "NORM"]}
    second = first | {"ImageTypeText": ["ORIGINAL", "PRIMARY", "M", "ND"]}
    assert "NORM" in receive_differences({"a": first, "b": second}).refused[0]


def test_silent_header_is_unknown_not_different():
    assert receive_differences({"flip-1": SIEMENS, "flip-2": {"FlipAngle": 18}}).sentences == ()


def test_philips_floating_point_scale_needs_no_factor():
    found = receive_differences({"a": PHILIPS, "b": PHILIPS | {"PhilipsRescaleSlope": 0.4}})
    assert found.sentences == ()
    assert found.intensity_factors == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize("stored", ["display", "real world"])
def test_philips_scale_factors_bring_equal_signals_to_equal_numbers(stored):
    # by dcm2niix's notes: the comparable value is P = R / SS for a stored R, so the same signal P is written as
    # D = P SS RS on the display scale and as W = P SS WS on the real-world scale
    signal, scans, written = 123.0, {}, {}
    for name, scale, slope in (("flip-1", 0.0005, 0.8), ("flip-2", 0.0011, 0.3)):
        scans[name] = {"PhilipsScaleSlope": scale, "UsePhilipsFloatNotDisplayScaling": 0, "PhilipsRescaleSlope": slope}
        if stored == "real world":
            scans[name] |= {"PhilipsRWVSlope": slope, "PhilipsRescaleSlope": 7.0, "UsePhilipsFloatNotDisplayScaling": 1}
        written[name] = signal * scale * slope
    found = receive_differences(scans)
    mended = [written[name] * found.intensity_factors[name] for name in scans]
    assert mended[0] == pytest.approx(mended[1])
    assert len(found.corrected) == 1
    assert found.refused == ()


def test_philips_scan_without_scale_factors_beside_others_refuses():
    found = receive_differences({"a": PHILIPS, "b": {"Manufacturer": "Philips"}})
    assert "b: the Philips scale factors" in found.refused[0]
    assert found.intensity_factors == {"a": 1.0, "b": 1.0}


def test_higher_transmit_reference_means_a_larger_flip_angle():
    found = receive_differences({"a": SIEMENS, "b": SIEMENS | {"TxRefAmp": 242.0}})
    assert found.flip_angle_factors == {"a": 1.0, "b": pytest.approx(1.1)}
    assert "TxRefAmp" in found.corrected[0]
    assert found.refused == ()


@pytest.mark.parametrize("value", [0, -1, "high", True, None, float("nan")])
def test_impossible_factor_counts_as_missing(value):
    found = receive_differences({"a": {"TxRefAmp": value}, "b": {"TxRefAmp": 220.0}})
    assert found.flip_angle_factors == {"a": 1.0, "b": 1.0}
    assert found.corrected == ()
