"""Colours, windows and three-plane pictures."""

import numpy as np
import pytest
from fake_head import centred, grid
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from QMRIEstimationLib.colors import COLOR_NAMES, color_table, display_table, logarithmic_share, table_index
from QMRIEstimationLib.display import display_of
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.report import pictures
from QMRIEstimationLib.report.charts import ticks
from QMRIEstimationLib.units import MAP_UNITS

DIRECTIONS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}  # RAS axis and sign
SHAPE = (6, 7, 8)


def rotation(axis, angle):
    """Rotation matrix about an axis (not normalised) by an angle (rad)."""
    axis = np.asarray(axis, float) / np.linalg.norm(axis)
    cross = np.cross(np.eye(3), axis) * -1
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


@st.composite
def geometries(draw):
    """Grids of every permutation and handedness, tilted by less than 35 degrees, with unequal voxel sides."""
    order = draw(st.permutations(range(3)))
    signs = np.array(draw(st.tuples(*[st.sampled_from((-1, 1))] * 3)))
    axis = draw(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda a: np.linalg.norm(a) > 0.1))
    angle = np.radians(draw(st.floats(0, 35)))
    sides = np.array(draw(st.tuples(*[st.floats(0.4, 4.0)] * 3)))
    return Geometry(SHAPE, centred(rotation(axis, angle) @ np.eye(3)[:, order] * signs * sides, SHAPE))


def letters_are_true(geometry):
    """Whether, in every plane, the world coordinate grows from the middle towards each letter."""
    view = pictures.view_of(geometry)
    cut = pictures.cut_through(np.ones(geometry.shape, bool), view)
    ras = grid(geometry.ijk_to_ras, geometry.shape)
    for name, (top, bottom, left, right) in pictures.LETTERS.items():
        shown = [pictures.plane(coordinate, view, cut, name) for coordinate in ras]
        for letter, (near, far) in {
            top: (np.s_[0], np.s_[-1]),
            bottom: (np.s_[-1], np.s_[0]),
            left: (np.s_[:, 0], np.s_[:, -1]),
            right: (np.s_[:, -1], np.s_[:, 0]),
        }.items():
            axis, sign = DIRECTIONS[letter]
            if not sign * (shown[axis][near].mean() - shown[axis][far].mean()) > 0:
                return False
    return True


@given(geometries())
@settings(max_examples=150, deadline=None)
def test_letters_name_the_side_of_the_patient_on_any_grid(geometry):
    assert letters_are_true(geometry)


@pytest.mark.parametrize(
    "columns",
    [np.diag([1, 1, 2]), np.diag([-1, -1, 2]), np.diag([-1, 1, 2]), np.diag([1, 2, 1])[:, [1, 2, 0]]],
    ids=["RAS", "LPS", "left-handed", "sagittal"],
)
def test_letters_name_the_side_of_the_patient_on_common_grids(columns):
    geometry = Geometry(SHAPE, centred(columns, SHAPE))
    assert letters_are_true(geometry)
    assert pictures.view_of(geometry).tilt < 1e-4


def test_letters_hold_on_an_oblique_grid_and_its_tilt_is_told(oblique_matrix):
    geometry = Geometry(SHAPE, oblique_matrix)
    assert letters_are_true(geometry)
    # largest angle between a rotated and its own axis, for 25 degrees about (1, 2, 0.5): cos = R_ii of the formula
    n = np.array([1.0, 2.0, 0.5]) / np.linalg.norm([1.0, 2.0, 0.5])
    expected = np.degrees(np.arccos((np.cos(np.radians(25)) + (1 - np.cos(np.radians(25))) * n**2).min()))
    assert pictures.view_of(geometry).tilt == pytest.approx(expected, abs=1e-6)


@given(geometries(), st.tuples(*(st.integers(0, n - 1) for n in SHAPE)))
@settings(max_examples=60, deadline=None)
def test_position_of_a_turned_voxel_is_its_place_in_the_patient(geometry, voxel):
    view = pictures.view_of(geometry)
    marked = np.zeros(SHAPE, bool)
    marked[voxel] = True
    turned = view.turn(marked)
    index = tuple(int(n) for n in np.argwhere(turned)[0])
    expected = grid(geometry.ijk_to_ras, SHAPE)[(slice(None), *voxel)]
    np.testing.assert_allclose(view.position(index, turned.shape), expected, atol=1e-9)


def test_patient_left_stands_at_the_right_of_the_picture():
    shape = (20, 20, 20)
    geometry = Geometry(shape, centred(np.diag([2.0, 2.0, 2.0]), shape))
    index = np.where(grid(geometry.ijk_to_ras, shape)[0] < 0, 255, 1).astype(np.uint8)  # bright left half
    view = pictures.view_of(geometry)
    cut = pictures.cut_through(np.ones(shape, bool), view)
    for name in ("axial", "coronal"):
        pixels = np.asarray(pictures.slice_picture(index, color_table("gray"), view, cut, name, scale=4.0))[:, :, 0]
        height, width = pixels.shape
        assert pixels[height // 4, 3 * width // 4] == 255
        assert pixels[height // 4, width // 4] == 1


def test_pixels_are_square_in_the_patient():
    shape = (10, 30, 40)
    geometry = Geometry(shape, centred(np.diag([-1.0, -2.0, 5.0]), shape))
    view = pictures.view_of(geometry)
    cut = pictures.cut_through(np.zeros(shape, bool), view)
    index = np.ones(shape, np.uint8)
    sizes = {
        name: pictures.slice_picture(index, color_table("gray"), view, cut, name).size for name in pictures.LETTERS
    }
    scale = pictures.PIXELS_PER_MM
    frame = 2 * pictures.LETTER_ROOM * scale
    assert sizes == {
        "axial": (40 * scale + frame, 60 * scale + frame),
        "coronal": (40 * scale + frame, 50 * scale + frame),
        "sagittal": (60 * scale + frame, 50 * scale + frame),
    }


def test_planes_lie_in_the_middle_of_the_mask_and_the_sagittal_one_to_the_left():
    shape = (40, 40, 40)
    geometry = Geometry(shape, centred(np.diag([-2.0, -2.0, 2.0]), shape))
    ras = grid(geometry.ijk_to_ras, shape)
    mask = sum((ras[axis] - centre) ** 2 for axis, centre in enumerate((5, -9, 13))) < 20**2
    view = pictures.view_of(geometry)
    cut = pictures.cut_through(mask, view, sideways=8.0)
    places = [pictures.plane_position(view, cut, name, shape) for name in pictures.LETTERS]
    assert places == ["S 13 mm", "P 9 mm", "L 3 mm"]


def test_outline_is_drawn_at_the_edge_of_the_mask_only():
    shape = (30, 30, 30)
    geometry = Geometry(shape, centred(np.diag([-2.0, -2.0, 2.0]), shape))
    mask = np.zeros(shape, bool)
    mask[8:22, 8:22, 8:22] = True
    view = pictures.view_of(geometry)
    cut = pictures.cut_through(mask, view)
    index = np.ones(shape, np.uint8)
    picture = pictures.slice_picture(index, color_table("gray"), view, cut, "axial", outline=mask)
    drawn = (np.asarray(picture) == pictures.OUTLINE).all(axis=2)
    rows, columns = np.nonzero(drawn)
    # 28 mm at 2 pixels per mm after 10 mm of frame and 4 mm of margin; half a voxel (2 pixels) for the interpolation
    assert abs(columns.min() - 28) <= 2 and abs(columns.max() - 83) <= 2
    assert abs(rows.min() - 28) <= 2 and abs(rows.max() - 83) <= 2
    assert not drawn[34:78, 34:78].any()


# Crameri's published values (8 bit) at entries 0, 1, 128 and 255
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lipari", [(3, 19, 38), (4, 20, 40), (165, 98, 103), (253, 245, 218)]),
        ("navia", [(3, 19, 39), (4, 21, 41), (65, 138, 128), (252, 244, 217)]),
        ("vik", [(0, 18, 97), (1, 20, 98), (236, 229, 224), (89, 0, 8)]),
        ("gray", [(0, 0, 0), (1, 1, 1), (128, 128, 128), (255, 255, 255)]),
    ],
)
def test_color_table_has_the_published_values(name, expected):
    table = color_table(name)
    assert table.shape == (256, 3) and table.dtype == np.uint8
    assert [tuple(int(c) for c in table[i]) for i in (0, 1, 128, 255)] == expected
    assert np.abs(np.diff(table.astype(int), axis=0)).max() <= 8  # no jump anywhere


def test_unknown_color_table_is_refused():
    with pytest.raises(ValueError, match="rainbow"):
        color_table("rainbow")


@pytest.mark.parametrize("name", COLOR_NAMES)
@pytest.mark.parametrize("reverse", [False, True])
def test_invalid_is_black_and_the_lowest_valid_value_is_not(name, reverse):
    table = display_table(name, (0.0, 10.0), reverse=reverse)
    index = table_index(np.array([5.0, -3.0, 0.0, 99.0]), np.array([False, True, True, True]), (0.0, 10.0))
    np.testing.assert_array_equal(index, [0, 1, 1, 255])
    assert tuple(table[0]) == (0, 0, 0)
    assert tuple(table[1]) != (0, 0, 0)


def test_linear_table_runs_through_its_colors_in_order():
    np.testing.assert_array_equal(display_table("navia", (0.0, 1.0))[1:], color_table("navia")[1:])
    np.testing.assert_array_equal(display_table("navia", (0.0, 1.0), reverse=True)[1:], color_table("navia")[::-1][1:])


def test_windowed_values_meet_their_entries():
    window = (-0.1, 0.1)
    values = np.array([-0.5, -0.1, -0.0999, 0.0, 0.0999, 0.1, 0.5])
    np.testing.assert_array_equal(table_index(values, values < 1, window), [1, 1, 1, 128, 255, 255, 255])


def test_not_finite_values_that_are_invalid_are_black():
    index = table_index(np.array([np.nan, np.inf, 1.0]), np.array([False, False, True]), (0.0, 2.0))
    np.testing.assert_array_equal(index, [0, 0, 128])


def test_shapes_that_differ_are_named():
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        table_index(np.zeros(2), np.ones(3, bool), (0, 1))


@given(st.floats(0.0, 10.0), st.floats(0.1, 50.0))
@settings(deadline=None)
def test_logarithmic_treatment_is_continuous_rising_and_bends_at_high_over_e(low, width):
    high = low + width
    share = logarithmic_share(np.linspace(low, high, 2001), (low, high))
    assert share[0] == pytest.approx(0, abs=1e-12) and share[-1] == pytest.approx(1, abs=1e-12)
    steps = np.diff(share)
    assert (steps > 0).all()
    assert (np.diff(steps) < 1e-12).all()  # straight, then ever flatter: no kink
    knee = high / np.e
    if knee > low:
        below = np.diff(share[np.linspace(low, high, 2001) < knee])
        np.testing.assert_allclose(below, below[0] if below.size else 0, rtol=1e-6)


def test_window_below_zero_cannot_be_logarithmic():
    with pytest.raises(ValueError, match="window"):
        logarithmic_share(np.zeros(1), (-1.0, 1.0))


def test_rates_keep_the_colors_that_tissue_has_in_maps_of_times():
    fluid, white = 0.25, 1.05
    display = display_of("R1", 3.0)
    index = table_index(np.array([fluid, white]), np.ones(2, bool), display.window)
    bright, dark = display.table[index].astype(int).sum(axis=1)
    assert bright > 500 and dark < 350


def test_r2star_window_grows_with_the_field():
    highs = [display_of("R2star", strength).window[1] for strength in (1.5, 2.9, 3.0, 7.0)]
    assert highs[0] < highs[1] == highs[2] < highs[3]


def test_literature_is_shown_at_three_tesla_only():
    assert display_of("R2star", 3.0).literature
    assert not display_of("R2star", 7.0).literature


@pytest.mark.parametrize("name", MAP_UNITS)
def test_every_map_has_a_display(name):
    display = display_of(name)
    assert display.window[0] < display.window[1]
    assert display.table.shape == (256, 3)
    assert display.unit_code and display.title and display.unit
    assert display.text(None) == "n/a" == display.text(float("nan"))


def test_map_without_display_is_refused():
    with pytest.raises(ValueError, match="T7"):
        display_of("T7")


def test_color_bar_has_the_colors_of_the_window_exactly():
    table = display_of("R2star", 3.0).table
    bar = np.asarray(pictures.bar_picture(table))
    np.testing.assert_array_equal(bar[0], table[1:])
    assert pictures.data_uri(Image.fromarray(bar)).startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.1, 0.1, [-0.1, -0.05, 0.0, 0.05, 0.1]),
        (50, 110, [50, 60, 70, 80, 90, 100, 110]),
        (0.2, 1.6, [0.5, 1.0, 1.5]),
    ],
)
def test_ticks_are_round_numbers_inside_the_window(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)
