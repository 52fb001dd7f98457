"""Malformed inputs of the further routes: echoes of flip angles, multi-echo spin echo, maps that are given."""

import numpy as np
from bad_input import BadInput
from bids_tree import SHAPE, matrix, save, write_json

GRE = {"PulseSequenceType": "SPGR", "RepetitionTimeExcitation": 0.028, "MagneticFieldStrength": 3.0}


def put(folder, name, fields, data=None, affine=None):
    """Write an image with its sidecar."""
    save(folder / f"{name}.nii.gz", np.ones(SHAPE, np.float32) if data is None else data, affine)
    write_json(folder / f"{name}.json", fields)


def flips(*echo_times):
    """Damage that adds two flip angles with the given echo times (None for a field that is missing)."""

    def damage(bids_dir):
        for flip, angle in ((1, 3), (2, 20)):
            for echo, time in enumerate(echo_times, 1):
                fields = GRE | {"FlipAngle": angle} | ({} if time is None else {"EchoTime": time})
                put(bids_dir / "sub-01" / "anat", f"sub-01_echo-{echo}_flip-{flip}_VFA", fields)

    return damage


def train(*echo_times, **more):
    """Damage that adds a multi-echo spin echo."""

    def damage(bids_dir):
        rng = np.random.default_rng(1)
        for echo, time in enumerate(echo_times, 1):
            fields = more | ({} if time is None else {"EchoTime": time})
            image = (1 + 0.01 * rng.standard_normal(SHAPE)).astype(np.float32)
            put(bids_dir / "sub-01" / "anat", f"sub-01_echo-{echo}_MESE", fields, image)

    return damage


def given(name="R1map", data=None, uncertainty=None, affine=None, **fields):
    """Damage that adds a map to a derivative, and its uncertainty."""

    def damage(bids_dir):
        folder = bids_dir / "derivatives" / "other" / "sub-01" / "anat"
        put(folder, f"sub-01_{name}", fields, data, affine)
        if uncertainty is not None:
            put(folder, f"sub-01_desc-uncertainty_{name}", fields, uncertainty)

    return damage


def _elsewhere():
    far = matrix()
    far[:3, 3] += 500
    return far


BAD_ROUTES = (
    BadInput("flip angle without echo time", flips(0.005, None), ("echo-2_flip-1_VFA.json", "EchoTime is missing")),
    BadInput("flip angle with one echo twice", flips(0.005, 0.005), ("flip-1_VFA", "EchoTime is 0.005 s in both")),
    BadInput("flip angle with echoes in ms", flips(7.6, 22), ("EchoTime is 7.6", "milliseconds")),
    BadInput("spin echo without echo time", train(None, 0.02, 0.03), ("echo-1_MESE.json", "EchoTime is missing")),
    BadInput("spin echo twice", train(0.01, 0.01, 0.03), ("MESE", "EchoTime is 0.01 s in both")),
    BadInput("spin echo after the repetition", train(0.01, 0.02, RepetitionTime=0.015), ("last echo is at 0.02 s",)),
    BadInput("one spin echo", train(0.01), ("echo-1_MESE", "one spin echo", "3 or more", "--maps"), "pipeline"),
    BadInput("given map without Units", given(), ("R1map.json", "Units is missing", "1/s", "ready.r1"), "pipeline"),
    BadInput("given map in other units", given("T1map", Units="min"), ("Units is 'min'", "one of s"), "pipeline"),
    BadInput("given PD in its own units", given("PDmap", Units="arbitrary"), ("'arbitrary'", "p.u."), "pipeline"),
    BadInput(
        "given map of four dimensions",
        given(data=np.ones((2, *SHAPE), np.float32), Units="1/s"),
        ("R1map.nii.gz", "one volume of R1"),
        "pipeline",
    ),
    BadInput(
        "given map without a value",
        given("Chimap", np.zeros(SHAPE, np.float32), Units="ppm"),
        ("Chimap.nii.gz", "no voxel has a value"),
        "pipeline",
    ),
    BadInput(
        "given map of another patient",
        given(affine=_elsewhere(), Units="1/s"),
        ("R1map.nii.gz", "no voxel in the brain"),
        "pipeline",
    ),
    BadInput(
        "uncertainty on another grid",
        given(uncertainty=np.ones((4, 5, 6), np.float32), Units="1/s"),
        ("desc-uncertainty_R1map.nii.gz", "another grid"),
        "pipeline",
    ),
)
