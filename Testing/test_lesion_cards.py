"""Cards of lesions in the report: every lesion has one, marks lie on its border, nothing comes from outside."""

import re
from dataclasses import replace

import numpy as np
import pytest
from html_checks import Page
from lesion_maps import Canvas
from QMRIEstimationLib.display import display_of
from QMRILesionStagingLib import lesion_cards
from QMRILesionStagingLib.lesion_section import lesion_section
from QMRILesionStagingLib.lesion_table import tables_of
from QMRILesionStagingLib.options import RimOptions, StagingOptions
from QMRILesionStagingLib.profile_chart import profile_chart
from QMRILesionStagingLib.staging import stage_lesions

CHRONIC = {"R1": -0.4, "R2": -4.0, "R2star": -2.0, "PD": 18.0}


@pytest.fixture(scope="module")
def staged():
    """Two lesions on an oblique grid, staged: one with a rim, one without."""
    angle = np.deg2rad(12)
    matrix = np.diag([0.8, 0.9, 1.4, 1.0])
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    matrix[:3, :3] = turn @ matrix[:3, :3]
    canvas = Canvas((30, 44, 52), (1.4, 0.9, 0.8), matrix=matrix)
    canvas.lesion((20.0, 19.0, 13.0), 11, rim=0.045, **CHRONIC)
    given = canvas.lesion((20.0, 20.0, 30.0), 9, chi=0.033, **CHRONIC).given()
    return tables_of(stage_lesions(given, StagingOptions(rim=RimOptions(found=0.0)))), given


def test_every_lesion_has_a_card_that_its_row_leads_to(staged):
    text = lesion_section(*staged)[2]
    for number in (1, 2):
        assert text.count(f'id="lesion-{number}"') == 1 and f'href="#lesion-{number}"' in text
    assert "Lesion 1: chronic active" in Page(text).text


def test_a_card_holds_pictures_with_sides_chart_and_reasons_and_needs_no_network(staged):
    tables, given = staged
    text = lesion_cards.cards(tables, given)
    card = text[text.index('id="lesion-1"') :].partition("</article>")[0]
    assert card.count("<img") == 4 * 3  # QSM, R2*, R1 and the image after gadolinium
    assert card.count("<svg") == 2  # the profiles of QSM and R2*
    assert tables.rows[0]["reason"].split(":")[0] in Page(card).text
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)


def test_the_marks_lie_on_the_border_as_the_picture_shows_it(staged):
    """Green and red dots must be near the outline that the labels give, on an oblique, anisotropic grid."""
    tables, given = staged
    row = tables.rows[0]
    pictures = lesion_cards._Pictures(tables, given)
    cut = pictures._cut([row[f"{axis}_ras"] for axis in "xyz"])
    black = np.zeros((256, 3), np.uint8)
    empty = np.zeros(tables.labels.shape, np.uint8)
    for plane in ("axial", "coronal", "sagittal"):
        drawn = lesion_cards.slice_picture(
            empty, black, pictures.view, cut, plane, outline=tables.labels == 1, scale=4.0, room=0.0
        )
        outline = np.argwhere((np.asarray(drawn) == (255, 214, 10)).all(-1))
        blank = lesion_cards.slice_picture(empty, black, pictures.view, cut, plane, scale=4.0, room=0.0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lesion_cards, "SCALE", 4.0)
            patch.setattr(lesion_cards, "ROOM", 0.0)
            pictures._mark(blank, cut, plane, *pictures.points[1])
        dots = np.argwhere((np.asarray(blank) == lesion_cards.DOTS[1]).all(-1))
        assert len(dots) > 20, plane
        away = np.linalg.norm(dots[:, None] - outline[None], axis=-1).min(1) / 4.0
        assert np.median(away) < 0.7 and away.max() < 2.0, plane  # mm: a dot, half a voxel, and a slice beside


def test_a_place_is_told_by_the_sides_of_the_patient():
    assert lesion_cards._place((-27.4, 44.0, -8.2)) == "L 27, A 44, I 8 mm"


def test_a_profile_of_one_point_gives_no_chart():
    assert profile_chart([{"mm": 0.0, "mean": 0.1, "low": 0.0, "high": 0.2}], display_of("Chi")) == ""


def test_the_summary_counts_rims_enhancement_and_doubts(staged):
    tables, given = staged
    text = Page(lesion_section(tables, given)[2]).text
    assert "1 definite, 1 absent" in text and "Enhancing unknown" not in text
    other = replace(tables, rows=[row | {"stage": "indeterminate", "doubt": "too small"} for row in tables.rows])
    assert "2 (2 too small)" in Page(lesion_section(other, given)[2]).text


def test_a_readers_call_stands_first_and_the_automatic_one_beside_it(staged):
    tables, given = staged
    call = {"reader_stage": "chronic inactive", "reader_rim": "absent", "reader": "A & B", "read_at": "2026-11-26"}
    rows = [tables.rows[0] | call | {"reader_reason": "a <vein>"}, tables.rows[1]]
    page = Page(lesion_section(replace(tables, rows=rows), given)[2])
    assert "Lesion 1: chronic inactive" in page.text
    assert "called by A & B: a <vein> (automatic: chronic active)" in page.text
    assert "Called otherwise by a reader 1;" in page.text
