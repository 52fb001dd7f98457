"""Codes of what is said of lesions in DICOM: standard ones where there are any, else those of the scheme 99QMRI.

No standard code exists for the stage of a lesion, a paramagnetic rim or the share of a border with rim (dictionaries of
pydicom 3.0.2); the README lists the meaning of those of 99QMRI.
"""

from .calls import GRADES, INDETERMINATE, STAGES

SCHEME = "99QMRI"
LESION = ("301766008", "SCT", "Lesion of Brain")
ABNORMAL = ("49755003", "SCT", "Morphologically Abnormal Structure")
WHITE_MATTER = ("68523003", "SCT", "Cerebral White Matter")
BRAIN_MRI = ("24590-2", "LN", "Brain MRI")
VOLUME = ("118565006", "SCT", "Volume")
DIAMETER = ("81827009", "SCT", "Diameter")
FAMILY = ("123108", "DCM", "Multispectral Processing")
MEAN = ("373098007", "SCT", "Mean")
MM, MM3, PERCENT = ("mm", "UCUM", "millimeter"), ("mm3", "UCUM", "cubic millimeter"), ("%", "UCUM", "Percent")

STAGE = ("STAGE", SCHEME, "Stage of the lesion by MRI")
RIM = ("RIM", SCHEME, "Paramagnetic rim")
RIM_COVERAGE = ("RIMCOV", SCHEME, "Share of the border with paramagnetic rim")
ENHANCEMENT = ("ENH", SCHEME, "Pattern of enhancement")
DIFFERENCE = ("DELTA", SCHEME, "Lesion minus surrounding white matter")
STAGE_CODES = {
    name: (f"STAGE-{code}", SCHEME, meaning)
    for name, code, meaning in zip(
        (*STAGES, INDETERMINATE),
        ("EA", "LA", "CA", "CI", "IND"),
        ("Early active", "Late active", "Chronic active", "Chronic inactive", "Indeterminate"),
        strict=True,
    )
}
RIM_CODES = {
    grade: (f"PRL-{code}", SCHEME, f"Paramagnetic rim {grade}")
    for grade, code in zip(GRADES, ("DEF", "PROB", "POSS", "ABS", "NA"), strict=True)
}
ENHANCEMENT_CODES = {
    pattern: (f"ENH-{code}", SCHEME, meaning)
    for pattern, code, meaning in (
        ("none", "NO", "No enhancement"),
        ("nodular", "NOD", "Nodular enhancement"),
        ("closed ring", "CR", "Closed ring of enhancement"),
        ("open ring", "OR", "Open ring of enhancement"),
        ("unknown", "NA", "Enhancement not known"),
    )
}
