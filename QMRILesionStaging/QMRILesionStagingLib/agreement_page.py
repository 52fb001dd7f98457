"""The page that shows how far readers agree."""

from QMRIEstimationLib.report.page import Html, html, join, notes, page, table

from .calls import STAGE_NAMES


def agreement_page(calls, readers, rows, confusion, fewest):
    """The page as text; arguments as in `agreement`, `fewest`: patients that a bootstrap over patients needs."""
    patients = len({lesion[0] for lesion in calls})
    body = [
        Html("<header><h1>Agreement of readers</h1>"),
        Html(f'<p class="soft">{len(calls)} lesions of {patients} patients, read by {html(", ".join(readers))}.</p>'),
        Html('<p class="research">Research use only. Not for diagnosis.</p></header>\n'),
    ]
    if patients < fewest:
        body.append(
            notes(
                "Read this first",
                [
                    f"There are fewer than {fewest} patients, so intervals come from drawing lesions, which "
                    "are not independent of each other: they are too narrow."
                ],
            )
        )
    body.append(Html("<h2>Statistics</h2>\n"))
    shown = [
        (row["statistic"], row["readers"], _three(row), None if row["same"] is None else f"{100 * row['same']:.0f} %",
         row["lesions"], row["patients"], row["interval"])
        for row in rows
    ]  # fmt: skip
    header = ("Statistic", "Readers", "Value (95 %)", "Called alike", "Lesions", "Patients", "Interval by")
    body.append(table(header, shown, numeric=(2, 3, 4, 5)))
    body.append(
        Html(
            '<p class="soft">A rim counts when definite or probable; lesions whose rim a reader called not assessable '
            "are left out of the statistics of rims. Kappa is n/a where all readers only ever call one thing.</p>"
        )
    )
    for question, found in confusion.items():
        if found:
            body += [Html(f"<h2>Automatic {question} and that of most readers</h2>\n"), _matrix(found)]
    return page("Agreement of readers", join(*body))


def _three(row):
    if row["value"] is None:
        return None
    return f"{row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})" if row["low"] is not None else row["value"]


def _matrix(found):
    across, down = (_in_order({pair[place] for pair in found}) for place in (1, 0))
    rows = [(name, *(found.get((name, most), 0) for most in across)) for name in down]
    return table(("Automatic", *across), rows, numeric=range(1, len(across) + 1))


def _in_order(names):
    """Stages in their usual order, then whatever else was called."""
    return [*(name for name in STAGE_NAMES if name in names), *sorted(names - set(STAGE_NAMES))]
