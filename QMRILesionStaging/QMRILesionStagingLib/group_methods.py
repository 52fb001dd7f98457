"""What was done to a cohort, as a paragraph for a paper."""

import re

from QMRIEstimationLib.report.methods import methods_section
from QMRIEstimationLib.report.page import Html, details, html, join

from .calls import LESION_TABLE, REGION_TABLE

NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
STAGING = (
    "White-matter lesions were compared map by map with the white matter around them and staged by MRI as early "
    "active, late active, chronic active or chronic inactive, or left indeterminate; paramagnetic rims were looked "
    "for along rays through the border of each lesion, and called absent only where virtual rims of its size were "
    "found."
)
REGIONS = (
    "Maps were averaged over normal-appearing white matter, shells around the lesions, labelled nuclei and layers of "
    "the cortex, lesions left out; contents are sums times the volume of a voxel."
)
COMPARED = (
    "Patients were compared with controls by least squares with heteroscedasticity-consistent errors (HC3; "
    "statsmodels), adjusted for age, its square, sex and gadolinium activity as far as they were known, and p was "
    "corrected by Benjamini and Hochberg."
)


def group_methods(results, comparisons):
    """What was done to most sessions, as a paragraph for a paper, and to the others, Html.

    Sessions count as made alike where the words are the same; numbers that differ are given as ranges.

    Args:
        results: cohort.SessionResult. comparisons: rows of comparisons.compare_groups.
    """
    alike = {}
    for result in results:
        known = result.made_by.get("methods")
        if isinstance(known, dict) and known.keys() >= {"text", "references"}:
            words = NUMBER.sub("#", known["text"]), tuple(known["references"])
            alike.setdefault(words, []).append((result.name, known["text"]))
    if not alike:
        return ""
    ((_, references), usual), *others = sorted(alike.items(), key=lambda item: -len(item[1]))
    sentences = [_merged([text for _, text in usual])]
    if any(LESION_TABLE in result.tables for result in results):
        sentences.append(STAGING)
    if any(REGION_TABLE in result.tables for result in results):
        sentences.append(REGIONS)
    sentences += [COMPARED] if comparisons else []
    about = f"Made so: {len(usual)} of {sum(len(own) for own in alike.values())} sessions."
    more = [Html('<p class="soft">'), about, Html("</p>")]
    for _, own in others:
        names = [name for name, _ in own]
        title = f"Made otherwise: {', '.join(names[:10])}" + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        more.append(details(title, html(_merged([text for _, text in own]))))
    return methods_section({"text": " ".join(sentences), "references": references}, join(*more))


def _merged(texts):
    """One text of several that differ in numbers only.

    >>> _merged(["2 echoes, 1.5 ml", "2 echoes, 0.9 ml"])
    '2 echoes, 0.9 to 1.5 ml'
    """
    columns = zip(*(NUMBER.findall(text) for text in texts), strict=True)
    ranges = iter([_range(column) for column in columns])
    return NUMBER.sub(lambda _: next(ranges), texts[0])


def _range(numbers):
    low, high = min(numbers, key=float), max(numbers, key=float)
    return low if float(low) == float(high) else f"{low} to {high}"
