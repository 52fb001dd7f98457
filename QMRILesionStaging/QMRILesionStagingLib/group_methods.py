"""What was done to a cohort, as a paragraph for a paper."""

import json

from QMRIEstimationLib.report.methods import methods_section
from QMRIEstimationLib.report.page import Html, details, html, join

from .calls import LESION_TABLE, REGION_TABLE

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
    """What was done to most sessions, as a paragraph for a paper, and to the others."""
    done = {}
    for result in results:
        known = result.made_by.get("methods")
        if isinstance(known, dict) and known.keys() >= {"text", "references"}:
            done.setdefault(json.dumps(known), []).append(result.name)
    if not done:
        return ""
    (usual, names), *others = sorted(done.items(), key=lambda item: -len(item[1]))
    usual = json.loads(usual)
    sentences = [usual["text"]]
    if any(LESION_TABLE in result.tables for result in results):
        sentences.append(STAGING)
    if any(REGION_TABLE in result.tables for result in results):
        sentences.append(REGIONS)
    sentences += [COMPARED] if comparisons else []
    about = f"Made so: {len(names)} of {sum(len(own) for own in done.values())} sessions."
    more = [Html('<p class="soft">'), about, Html("</p>")]
    for methods, own in others:
        title = f"Made otherwise: {', '.join(own[:10])}" + (f" and {len(own) - 10} more" if len(own) > 10 else "")
        more.append(details(title, html(json.loads(methods)["text"])))
    return methods_section({"text": " ".join(sentences), "references": usual["references"]}, join(*more))
