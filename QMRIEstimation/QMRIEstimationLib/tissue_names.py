"""Names of tissue labels as plain words, the side last: of FreeSurfer's numbers and spelling, and BIDS' letters."""

import re

SIDES = {"l": "left", "r": "right"}
NUMBERS = {  # FreeSurfer and SynthSeg number the same
    2: "WM left", 41: "WM right", 3: "cortex left", 42: "cortex right", 4: "CSF left", 43: "CSF right",
    5: "CSF left", 44: "CSF right",
    7: "cerebellum WM left", 46: "cerebellum WM right", 8: "cerebellum cortex left", 47: "cerebellum cortex right",
    10: "thalamus left", 49: "thalamus right", 11: "caudate left", 50: "caudate right",
    12: "putamen left", 51: "putamen right", 13: "pallidum left", 52: "pallidum right", 14: "CSF third ventricle",
    15: "CSF fourth ventricle", 16: "brainstem", 17: "hippocampus left", 53: "hippocampus right",
    18: "amygdala left", 54: "amygdala right", 24: "CSF", 26: "accumbens left", 58: "accumbens right",
    28: "ventral DC left", 60: "ventral DC right", 30: "vessel left", 62: "vessel right", 31: "choroid plexus left",
    63: "choroid plexus right", 77: "WM hypointensities", 85: "optic chiasm",
    **dict.fromkeys(range(251, 256), "corpus callosum"), 5001: "WM left", 5002: "WM right",
}  # fmt: skip
PARCELS = (  # first and last number of parcels, and what they are parts of
    (1001, 1035, "cortex left"), (2001, 2035, "cortex right"), (11101, 11175, "cortex left"),
    (12101, 12175, "cortex right"), (3001, 3035, "WM left"), (4001, 4035, "WM right"),
)  # fmt: skip
NO_CORTEX = ("unknown", "corpuscallosum", "medial_wall", "medial wall")
ABBREVIATIONS = {  # of BIDS
    "CGM": "cortex", "SGM": "subcortical gray matter", "BS": "brainstem", "CBM": "cerebellum", "BG": "background",
    "B": "skull", "ST": "skull", "NB": "background", "L": "lesion",
}  # fmt: skip


def name_of_number(number):
    """Name of a label of FreeSurfer, None where it is not known.

    >>> [name_of_number(number) for number in (11, 2035, 254, 999)]
    ['caudate left', 'cortex right', 'corpus callosum', None]
    """
    parcel = next((name for first, last, name in PARCELS if first <= number <= last), None)
    return NUMBERS.get(number, parcel)


def plain(name):
    """A name in plain words; parcels of the cortex are cortex. What is not FreeSurfer's or BIDS' stays as it is.

    >>> [plain(name) for name in ("Left-Thalamus-Proper", "ctx-rh-insula", "left cerebral white matter", "Caudate L")]
    ['thalamus left', 'cortex right', 'cerebral white matter left', 'Caudate L']
    """
    if name in ABBREVIATIONS:
        return ABBREVIATIONS[name]
    parcel = re.fullmatch(r"(ctx|wm)[-_](l|r)h[-_](.+)", name)
    if parcel:
        if any(word in parcel[3].lower() for word in NO_CORTEX):
            return "corpus callosum" if "callosum" in parcel[3] else "unknown"
        return f"{'cortex' if parcel[1] == 'ctx' else 'WM'} {SIDES[parcel[2]]}"
    if name.startswith("CC_"):
        return "corpus callosum"
    sided = re.fullmatch(r"(left|right)[-_ ](.+)", name, re.IGNORECASE)
    words = (sided[2] if sided else name).replace("-", " ").lower()
    if "inf lat vent" in words:
        words = "CSF"
    if sided:
        return f"{re.sub(r' (proper|area)[*]?$', '', words)} {sided[1].lower()}"
    return "brainstem" if words == "brain stem" else "CSF" if words == "CSF" else name
