"""What the literature finds in patients against healthy controls, region by region, for the table of comparisons.

Directions are those of Tables 1 and 2 of Tranfa M et al. 2022, AJNR Am J Neuroradiol 43:1688-1695.
"""

UP, DOWN = "higher", "lower"
BASAL_GANGLIA = ("caudate", "putamen", "pallidum")
_TABLE_1, _TABLE_2 = "Table 1", "Table 2"
EXPECTED = {  # (region without side, map, measure) -> direction in patients, where it stands
    ("NAWM", "R1", "mean"): (DOWN, _TABLE_1),
    ("NAWM", "R2", "mean"): (DOWN, _TABLE_1),
    ("NAWM", "PD", "mean"): (UP, _TABLE_1),
    ("NAWM", "R2star", "mean"): (DOWN, _TABLE_1),
    ("thalamus", "R1", "mean"): (DOWN, _TABLE_2),
    ("thalamus", "R2star", "mean"): (DOWN, _TABLE_2),
    ("thalamus", "R2star", "content"): (DOWN, _TABLE_2),
    ("thalamus", "Chi", "mean"): (DOWN, _TABLE_2),
    ("thalamus", "Chi", "content"): (DOWN, _TABLE_2),
    **{(region, name, "mean"): (UP, _TABLE_2) for region in BASAL_GANGLIA for name in ("R2star", "Chi")},
    **{(f"cortex layer {n}", name, "mean"): (DOWN, _TABLE_2) for n in (1, 2, 3, 4) for name in ("R1", "R2star")},
}


def expected(region, name, measure):
    """(direction, source), both None where the review tells none."""
    return EXPECTED.get((region, name, measure), (None, None))
