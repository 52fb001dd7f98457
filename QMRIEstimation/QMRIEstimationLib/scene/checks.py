"""What a set of images lacks, and which maps it allows, as far as is known of them; the engine has the last word."""

import slicer

from .attributes import acquisition_of
from .uses import BALANCED, FA, INCREMENT, SPOILED, TE, USES

PD_NEEDS = "PD needs a flip-angle series (spoiled GRE with two or more flip angles)."


def problem_of(nodes):
    """Why images cannot be used, as one sentence; empty when they can."""
    acquisitions = [acquisition_of(node) for node in nodes]
    used = [(node, found) for node, found in zip(nodes, acquisitions, strict=True) if found.used]
    if not nodes:
        return "There is no image in the table; load a BIDS subject or a DICOM folder, or add images of the scene."
    if not used:
        return "All images are 'not used'; choose what they are used for."
    for node, found in used:
        sentences = found.problems()
        if sentences:
            return next(iter(sentences.values()))
        if not found.frames:
            return f"{found.name}: holds no image; load it again, or remove it from the table."
        transform = transform_of(node)
        if transform is not None:
            return (
                f"{found.name}: is under the transform {transform.GetName()}, so the direction of the main field in it "
                "is unknown; take it out of the transform without hardening (scans are aligned here)."
            )
    return ""


def possible_maps(acquisitions, field_strength=None):
    """Name of each map -> why it cannot be made, as a sentence; empty where it can.

    Args:
        acquisitions: Acquisitions of the images in use. field_strength: T, where the images do not say; None.
    """
    frames = [(a, a.frame(n)) for a in acquisitions if a.use in USES for n in range(a.frames)]
    echoes = {part: set() for part in ("magnitude", "phase", "real", "imaginary")}
    flips, cycles, trains, resumed = set(), set(), set(), {}
    strength = field_strength or next((v for a in acquisitions if (v := a.header.get("MagneticFieldStrength"))), None)
    for a, frame in frames:
        if a.use == "multi-echo GRE":
            echoes[a.part].add(frame.get(TE))
        elif a.use == SPOILED and a.part != "phase":
            flips.add(frame.get(FA))
            resumed.setdefault(frame.get(FA), set()).add(frame.get(TE))
        elif a.use == BALANCED:
            cycles.add((frame.get(FA), frame.get(INCREMENT)))
        elif a.use == "multi-echo spin echo":
            trains.add(frame.get(TE))
    joint = max((len(times) for times in resumed.values()), default=0)
    has_echoes = max(len(echoes["magnitude"]), len(echoes["real"])) > 1 or joint > 1
    has_phase = bool(echoes["phase"] or (echoes["real"] and echoes["imaginary"])) or any(
        a.use == SPOILED and a.part in ("phase", "imaginary") for a in acquisitions
    )
    series = len(flips) > 1
    chi = "" if has_phase else "QSM needs the phase of a gradient echo; add it."
    if has_phase and not strength:
        chi = "QSM needs the field strength; enter it."
    return {
        "R1": "" if series else "R1 needs a flip-angle series (spoiled GRE with two or more flip angles).",
        "R2": "" if (len(cycles) > 2 and series) or len(trains) > 2 else _no_r2(cycles, series),
        "R2star": "" if has_echoes else "R2* needs a gradient echo with two or more echoes.",
        "PD": "" if series else PD_NEEDS,
        "Chi": chi,
    }


def _no_r2(cycles, series):
    if len(cycles) > 2 and not series:
        return "R2 from bSSFP needs R1, and with it a flip-angle series; add spoiled GRE with two or more flip angles."
    return "R2 needs phase-cycled bSSFP (three or more images) or a multi-echo spin echo."


def transform_of(node):
    """The transform node that a volume, or the proxy of a sequence, is seen under; None when there is none."""
    if node.IsA("vtkMRMLSequenceNode") and node.GetScene() is not None:
        for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode", node.GetScene()):
            proxy = browser.GetProxyNode(node)
            if proxy is not None and proxy.GetParentTransformNode() is not None:
                return proxy.GetParentTransformNode()
        return None
    return node.GetParentTransformNode()
