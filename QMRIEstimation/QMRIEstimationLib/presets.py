"""Sets of parameters for one purpose, as what they change of the defaults."""

from .parameters import from_table

PRESETS = {  # name -> table of settings, in the words of the TOML file
    "Standard": {},
    "Fast": {
        "r2star": {"method": "weighted"},
        "r2": {"gauss_newton": False},
        "qsm": {"background": {"method": "v-sharp"}, "inversion": {"method": "rts"}},
    },
    "Research": {
        "denoise": {"method": "nonlocal-means"},
        "registration": {"samples": 60000},
        "qsm": {"inversion": {"tv": {"tolerance": 0.003, "iterations": 200}}},
    },
}
HELP = {
    "Standard": "The defaults: what was measured to be the most accurate in reasonable time.",
    "Fast": "A first look: QSM by V-SHARP and RTS, which lose the surface of the brain and underestimate contrast.",
    "Research": "Images are denoised first, scans are aligned with more samples, QSM iterates until it hardly changes.",
}


def settings_of(preset, changes, defaults):
    """Settings of a preset with the user's own changes on top.

    Args:
        preset: key of PRESETS. changes: parsed TOML table. defaults: option set.
    Raises:
        InputError: a change names no parameter, or is out of range.
    """
    return from_table(from_table(defaults, PRESETS[preset], preset), changes, "advanced parameters")


def merged(table, path, value):
    """A nested table with one value put in at a path; None takes it out, and empty tables with it."""
    name, *rest = path
    inner = merged(table.get(name, {}), rest, value) if rest else value
    kept = {key: old for key, old in table.items() if key != name}
    return kept if inner in (None, {}) else kept | {name: inner}
