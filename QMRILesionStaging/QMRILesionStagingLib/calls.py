"""What a lesion and a point of its border can be called, and in which colours that is shown."""

STAGES = ("early active", "late active", "chronic active", "chronic inactive")
INDETERMINATE = "indeterminate"
STAGE_NAMES = (*STAGES, INDETERMINATE)  # label of the stage map is the index plus one
GRADES = ("definite", "probable", "possible", "absent", "not assessable")
PRESENT = GRADES[:2]  # what counts as a rim; "possible" soon costs specificity
COLORS = {  # safe for colour-blind readers (Okabe M, Ito K 2008): active warm, chronic cold, indeterminate gray
    "early active": (0.84, 0.37, 0.0),
    "late active": (0.90, 0.62, 0.0),
    "chronic active": (0.80, 0.47, 0.65),
    "chronic inactive": (0.0, 0.45, 0.70),
    INDETERMINATE: (0.6, 0.6, 0.6),
}
DIRECTIONS = {  # state of a point of the border -> what it is called, and its colour
    1: ("rim found", (0.08, 0.78, 0.24)),
    0: ("no rim", (0.88, 0.16, 0.16)),
    -1: ("not judged", (0.6, 0.6, 0.6)),
    -2: ("vein", (0.3, 0.5, 1.0)),
}

NOT_ENHANCING = ("none", "unknown")  # patterns of enhancement that are none, as far as is known
LESION_TABLE, REGION_TABLE = "desc-lesions_stats.tsv", "desc-regions_stats.tsv"  # ends of names of files
PROGRAM = "automatic"  # as the reader in tables of readings
READING_COLUMNS = (
    "participant_id", "session_id", "lesion", "x_ras", "y_ras", "z_ras", "volume_mm3", "reader", "years", "stage",
    "rim_grade", "note", "read_at",
)  # fmt: skip


def stage_of_row(row):
    """The stage that counts of a row of the lesion table: the reader's, else the automatic one."""
    return row.get("reader_stage") or row["stage"]


def rim_of_row(row):
    """The rim grade that counts."""
    return row.get("reader_rim") or row["rim_grade"]


def changed(row):
    """Whether a reader called stage or rim otherwise than the automatic staging."""
    return bool(row.get("reader_stage") or row.get("reader_rim"))
