"""Tissue values of the digital patient: what each tissue is made of, at 1.5, 3 and 7 T.

Susceptibility is in ppm relative to cerebrospinal fluid (CSF = 0), which is taken as water (-9.05 ppm absolute);
air (+0.36 ppm absolute) is therefore +9.4. Proton density is in percent of pure water.

Values at 3 T. Their sources, by the letter in the table:
  a  assumed rows of lesion_values.csv (assumed_0 to assumed_8) of this project's literature survey
  m  inside the plausibility windows of the survey of relaxometry (R2 of white and gray matter, R2* of the nuclei)
  z  Zivadinov R et al. 2018, Radiology 289:487: patients' thalamus -7.5 ppb and basal ganglia 62 ppb, here the
     volume-weighted mean of caudate, putamen and pallidum
  x  assumed, chosen to be plausible; no source was read
"""

from dataclasses import dataclass

import numpy as np

QUANTITIES = ("r1", "r2", "r2star", "pd", "chi")
CHI_AIR = 9.4
STATIC_R2STAR = 6.0  # 1/s, the part of R2* in tissue that does not grow with B0; assumed, gives x0.65 at 1.5 T

# name: R1 (1/s), R2 (1/s), R2* (1/s), PD (p.u.), chi (ppm), how much the smooth texture shows, sources
TISSUES = {
    "air": (0.0, 0.0, 0.0, 0.0, CHI_AIR, 0.0, "physics"),
    "white matter": (1.15, 13.0, 20.5, 69.0, -0.030, 1.0, "a"),
    "cortex": (0.68, 10.8, 15.0, 82.0, 0.010, 1.0, "R1 R2* a, R2 PD m, chi x"),
    "CSF": (0.24, 0.6, 2.0, 100.0, 0.0, 0.0, "R1 R2* a, R2 x"),
    "thalamus": (0.88, 12.5, 19.0, 78.0, -0.0075, 1.0, "chi z, rest x"),
    "caudate": (0.76, 12.0, 23.0, 82.0, 0.045, 1.0, "R2* m, chi z, rest x"),
    "putamen": (0.82, 13.0, 27.0, 81.0, 0.055, 1.0, "R2* m, chi z, rest x"),
    "pallidum": (1.00, 17.0, 39.0, 76.0, 0.120, 1.0, "R2* m, chi z, rest x"),
    "red nucleus": (1.00, 16.0, 36.0, 76.0, 0.110, 1.0, "x"),
    "substantia nigra": (0.98, 15.5, 34.0, 76.0, 0.115, 1.0, "x"),
    "dentate": (0.92, 15.0, 33.0, 78.0, 0.100, 1.0, "x"),
    "cerebellar cortex": (0.72, 11.0, 16.5, 82.0, 0.005, 1.0, "x"),
    "brain stem": (1.00, 13.0, 20.0, 73.0, -0.020, 1.0, "x"),
    "vein": (0.58, 25.0, 45.0, 85.0, 0.300, 0.0, "x; oxygen saturation about 60 %"),
    "calcification": (1.20, 50.0, 130.0, 45.0, -1.5, 0.0, "x; of the pineal gland and the choroid plexus"),
    "bone": (2.00, 200.0, 600.0, 15.0, -2.1, 0.0, "x; -11.1 ppm absolute"),
    "marrow": (2.60, 14.0, 60.0, 60.0, 0.3, 0.0, "x; fat without its chemical shift"),
    "scalp": (2.60, 14.0, 30.0, 88.0, 0.4, 0.0, "x; fat without its chemical shift"),
    "muscle": (0.71, 28.0, 38.0, 75.0, 0.0, 1.0, "x"),
    "eye": (0.23, 1.0, 3.0, 100.0, 0.0, 0.0, "x; vitreous as CSF"),
}
NAMES = tuple(TISSUES)
INDEX = {name: index for index, name in enumerate(NAMES)}
FREE_WATER = ("CSF", "eye")
BRAIN = NAMES[1:15]  # white matter to calcification
NOT_TISSUE = ("air", "CSF", "vein", "calcification", "bone", "marrow", "scalp", "muscle", "eye")

TEXTURE_RATE = 0.03  # SD of the smooth texture in R1, R2 and R2*, relative; assumed
TEXTURE_PD = 0.01  # the same in PD; assumed
TEXTURE_CHI = 0.003  # ppm; assumed
VEIN_GADOLINIUM = 0.8  # mM in blood some minutes after a usual dose; assumed


@dataclass(frozen=True, eq=False)
class ClassTable:
    """What every class of the object is made of.

    Attributes:
        values: float32 [class, quantity], quantities as in QUANTITIES.
        texture: float32 [class], how much the smooth texture shows.
        gadolinium: float32 [class], mM, present only in scans after contrast.
        tissue: int [class], index of the tissue a rater would call it (lesions: white matter).
        lesion: int [class], number of the lesion, 0 outside (also in periplaque white matter).
    """

    values: np.ndarray
    texture: np.ndarray
    gadolinium: np.ndarray
    tissue: np.ndarray
    lesion: np.ndarray

    def column(self, quantity):
        """Values of one quantity, float32 [class]."""
        return self.values[:, QUANTITIES.index(quantity)]

    def with_lesions(self, values, gadolinium, lesion):
        """The table with classes of lesions added, all of them white matter to a rater."""
        n = len(values)
        values = np.reshape(np.asarray(values, np.float32), (n, len(QUANTITIES)))
        return ClassTable(
            np.concatenate([self.values, values]),
            np.concatenate([self.texture, np.ones(n, np.float32)]),
            np.concatenate([self.gadolinium, np.asarray(gadolinium, np.float32)]),
            np.concatenate([self.tissue, np.full(n, INDEX["white matter"])]),
            np.concatenate([self.lesion, np.asarray(lesion, np.int64)]),
        )


def tissue_table(field_strength, rng=None):
    """Class table of the healthy tissues at `field_strength` (T), varied between subjects when `rng` is given.

    R1 of tissue falls as B0^-0.38 (assumed; close to the power law of Rooney WD et al. 2007, Magn Reson Med
    57:308, recalled), free water keeps its R1; R2 of tissue rises as B0^0.3 (assumed); R2* is a static part plus
    one proportional to B0, so that its contrasts scale with B0.
    """
    values = np.array([row[:5] for row in TISSUES.values()], np.float64)
    texture = np.array([row[5] for row in TISSUES.values()], np.float32)
    ratio = field_strength / 3.0
    for name, index in INDEX.items():
        r1, r2, r2star = values[index, :3]
        if name in FREE_WATER or name == "air":
            static = r2
        else:
            static = min(STATIC_R2STAR, r2star)
            values[index, 0] = r1 * ratio**-0.38
            values[index, 1] = r2 * ratio**0.3
        values[index, 2] = max(static + (r2star - static) * ratio, values[index, 1])
    if rng is not None:
        varied = [INDEX[name] for name in BRAIN if name not in NOT_TISSUE]
        factors = np.clip(rng.standard_normal((len(varied), 3)), -2, 2)
        values[varied, :2] *= 1 + 0.02 * factors[:, :1]
        values[varied, 2] *= 1 + 0.02 * factors[:, 1]
        values[varied, 4] *= 1 + 0.1 * factors[:, 2]
    n = len(values)
    gadolinium = np.zeros(n, np.float32)
    gadolinium[INDEX["vein"]] = VEIN_GADOLINIUM
    return ClassTable(values.astype(np.float32), texture, gadolinium, np.arange(n), np.zeros(n, np.int64))


def texture_coefficients(table):
    """Relative and absolute change of each quantity per SD of texture, both float32 [class, quantity]."""
    relative = np.array([TEXTURE_RATE, TEXTURE_RATE, TEXTURE_RATE, TEXTURE_PD, 0], np.float32)
    absolute = np.array([0, 0, 0, 0, TEXTURE_CHI], np.float32)
    return table.texture[:, None] * relative, table.texture[:, None] * absolute
