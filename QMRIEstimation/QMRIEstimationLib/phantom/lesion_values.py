"""What is known of lesions: one row a number, with the id it has in the project's survey (lesion_values.csv).

`read` values come from abstracts that were read, `recalled` ones from memory, `assumed` ones from nobody: they are
this simulator's. Differences are lesion minus normal-appearing white matter (NAWM) at 3 T.
"""

from typing import NamedTuple


class Value(NamedTuple):
    """Mean and SD over lesions, with source, evidence and the field strength (T) it was measured at."""

    mean: float
    sd: float
    source: str
    evidence: str
    field_strength: float = 3.0


_ZHANG = "Zhang Y et al. 2016, AJNR 37:1629"
_BLYSTAD = "Blystad I et al. 2016, AJNR 37:94"
_HAGIWARA = "Hagiwara A et al. 2017, AJNR 38:237"
_HEMOND = "Hemond CC et al. 2021, AJR"
_OWN = "simulator"

VALUES = {
    # susceptibility, ppb, and R2*, 1/s, minus NAWM
    "zhang16_nod_chi": Value(0.5, 4.4, _ZHANG, "read"),
    "zhang16_nod_r2s": Value(-5.6, 2.9, _ZHANG, "read"),
    "zhang16_shell_chi": Value(10.2, 5.4, _ZHANG, "read"),
    "zhang16_shell_r2s": Value(-8.0, 2.6, _ZHANG, "read"),
    "zhang16_ne1_chi": Value(20.2, 7.8, _ZHANG, "mean read, SD recalled"),
    "zhang16_ne1_r2s": Value(-3.1, 2.3, _ZHANG, "recalled"),
    "zhang16_ne3_chi": Value(33.2, 8.2, _ZHANG, "recalled"),
    "zhang16_ne3_r2s": Value(-2.0, 2.6, _ZHANG, "recalled"),
    "chen14_chr": Value(4.67, 3.18, "Chen W et al. 2014, Radiology 271:183", "read"),
    "assumed_rim_0": Value(12.0, 8.0, _OWN, "assumed"),  # core of a rim lesion, ppb
    "assumed_rim_1": Value(45.0, 15.0, _OWN, "assumed"),  # its rim, ppb
    "assumed_rim_2": Value(4.0, 2.0, _OWN, "assumed"),  # R2* of rim minus core, 1/s
    "assumed_rim_3": Value(-2.0, 5.0, _OWN, "assumed"),  # remyelinated, ppb
    # R1 and R2 (1/s) and PD (p.u.), absolute, in lesions that enhance and that do not
    "blystad_enh_R1": Value(1.22, 0.36, _BLYSTAD, "read", 1.5),
    "blystad_enh_R2": Value(9.8, 2.6, _BLYSTAD, "read", 1.5),
    "blystad_enh_PD": Value(77.0, 11.2, _BLYSTAD, "read", 1.5),
    "blystad_non_R1": Value(0.89, 0.24, _BLYSTAD, "read", 1.5),
    "blystad_non_R2": Value(7.4, 1.9, _BLYSTAD, "read", 1.5),
    "blystad_non_PD": Value(90.0, 8.4, _BLYSTAD, "read", 1.5),
    # percent of NAWM
    "hagiwara_periplaque_R1": Value(-6.08, 8.66, _HAGIWARA, "read"),
    "hagiwara_periplaque_R2": Value(-4.79, 6.79, _HAGIWARA, "read"),
    "hagiwara_periplaque_PD": Value(3.37, 4.24, _HAGIWARA, "read"),
    "assumed_rim_4": Value(-12.0, 6.0, _OWN, "assumed"),  # R1 of remyelinated lesions
    "assumed_remyelinated_R2": Value(-7.0, 4.0, _OWN, "assumed"),  # a third of Hagiwara's plaque, as R1
    "assumed_remyelinated_PD": Value(8.0, 4.0, _OWN, "assumed"),  # a third of Hagiwara's plaque, as R1
    # diameter, mm; the SDs are assumed
    "fleni_cf": Value(4.5, 0.8, "FLENI, centrifugal enhancement", "read"),
    "fleni_cp": Value(10.5, 1.6, "FLENI, centripetal enhancement", "read"),
    "hemond_prl_diam": Value(11.9, 2.4, _HEMOND, "read"),
    "hemond_diffuse_diam": Value(6.4, 1.4, _HEMOND, "read"),
    "hemond_iso_diam": Value(7.8, 2.0, _HEMOND, "read"),
    # gadolinium, mM in enhancing tissue
    "assumed_gadolinium": Value(0.25, 0.05, _OWN, "assumed"),
}

RATES_CORRELATION = 0.7  # of R1, R2 and -PD among lesions: reproduces Blystad's AUC of 0.832 (this project's survey)
EXTREMES = 1.8  # SDs, beyond which nothing is drawn

# What each kind of lesion is drawn from: diameter; chi and R2* of the core; R1, R2, PD.
ENHANCING = ("blystad_enh_R1", "blystad_enh_R2", "blystad_enh_PD")
OLD = ("blystad_non_R1", "blystad_non_R2", "blystad_non_PD")
REMYELINATED = ("assumed_rim_4", "assumed_remyelinated_R2", "assumed_remyelinated_PD")
PERIPLAQUE = ("hagiwara_periplaque_R1", "hagiwara_periplaque_R2", "hagiwara_periplaque_PD")
SOURCES = {
    ("early active", "n/a"): ("fleni_cf", "zhang16_nod_chi", "zhang16_nod_r2s", ENHANCING),
    ("late active", "n/a"): ("fleni_cp", "zhang16_shell_chi", "zhang16_shell_r2s", ENHANCING),
    ("late active", "late active with rim"): ("fleni_cp", "zhang16_shell_chi", "zhang16_shell_r2s", ENHANCING),
    ("chronic active", "n/a"): ("hemond_prl_diam", "assumed_rim_0", "zhang16_ne1_r2s", OLD),
    ("chronic inactive", "n/a"): ("hemond_diffuse_diam", "zhang16_ne3_chi", "zhang16_ne3_r2s", OLD),
    ("chronic inactive", "remyelinated"): ("hemond_iso_diam", "assumed_rim_3", "zhang16_ne3_r2s", REMYELINATED),
    ("chronic inactive", "late inactive"): ("hemond_iso_diam", "chen14_chr", "zhang16_ne3_r2s", OLD),
}
