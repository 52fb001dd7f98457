"""Maps of paramagnetic and diamagnetic susceptibility, where chi, R2* and R2 lie on one grid."""

from dataclasses import replace

import numpy as np

from .qsm.separation import REFERENCE, relaxivities, separate

MAPS = ("ChiParamagnetic", "ChiDiamagnetic")
_QUALITY = "R2' = R2* - R2, 1/s"
_NEGATIVE = 0.05  # share of voxels where R2* is below R2 from which a note says so


def separated(chi, r2star, r2, by_spin_echo, csf, field_strength, options):
    """The two maps by name, and notes.

    Args:
        chi, r2star, r2: QuantitativeMap on one grid. by_spin_echo: R2 is that of spin echoes.
        csf: mean of chi in the ventricles, ppm, or None. field_strength: T. options: separation.SeparationOptions.
    """
    valid = chi.valid & r2star.valid & r2.valid
    sources = separate(
        chi.values - np.float32(csf or 0), chi.sd, r2star.values, r2star.sd, r2.values, r2.sd, valid, field_strength,
        options,
    )  # fmt: skip
    paramagnetic, diamagnetic = relaxivities(options, field_strength)
    notes = []
    if not by_spin_echo:
        notes.append(
            "paramagnetic and diamagnetic susceptibility are an approximation: R2 is that of bSSFP, which "
            "magnetisation transfer raises, so both parts come out small; a multi-echo spin echo does better."
        )
    if csf is None:
        notes.append(
            "paramagnetic and diamagnetic susceptibility count from the mean of the brain, because no fluid of the "
            "ventricles was found; what that mean differs from water is shared between them."
        )
    lost = 1 - sources.valid.sum() / max(valid.sum(), 1)
    if lost > _NEGATIVE:
        notes.append(
            f"R2* is below R2 in {100 * lost:.0f} % of the voxels, which no susceptibility explains; "
            "its parts are not valid there."
        )
    shared = {
        "quality": np.where(valid, r2star.values - r2.values, 0),
        "valid": sources.valid,
        "algorithm": f"closed-form separation by R2' = R2* - R2; {chi.algorithm}; R2: {r2.algorithm}",
        "reference": "; ".join(text for text in (REFERENCE, chi.reference) if text),
        "quality_meaning": _QUALITY,
        "sources": tuple(dict.fromkeys(chi.sources + r2star.sources + r2.sources)),
        "notes": (),
        "parameters": chi.parameters
        | {
            "ParamagneticRelaxivity": round(paramagnetic, 3),
            "DiamagneticRelaxivity": round(diamagnetic, 3),
            "ReferenceRegion": "csf" if csf is not None else chi.parameters.get("ReferenceRegion", "n/a"),
        },
    }
    values = (sources.paramagnetic, sources.paramagnetic_sd), (sources.diamagnetic, sources.diamagnetic_sd)
    made = {
        name: replace(chi, name=name, values=v, sd=sd, **shared) for name, (v, sd) in zip(MAPS, values, strict=True)
    }
    return made, notes
