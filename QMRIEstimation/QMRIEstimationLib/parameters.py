"""A parameter is written once: default, unit, range and help stand in a frozen dataclass and feed every front end.

A method declares `class FooOptions(Options)` beside its function; `settings.py` collects them. The panel, the TOML
file, the command line and the provenance record are all made from the fields.
"""

import argparse
import dataclasses
import json
import math
from dataclasses import dataclass, field, fields

from .errors import InputError
from .units import from_user, to_user, user_unit


def param(default, unit, low, high, help):
    """A number with its unit (the engine's) and the range it must lie in."""
    return field(default=default, metadata={"unit": unit, "low": low, "high": high, "help": help})


def choice(default, values, help):
    """One of the given names."""
    return field(default=default, metadata={"unit": "", "values": tuple(values), "help": help})


def text(default, help):
    """Free words, such as the name of a segment."""
    return field(default=default, metadata={"unit": "", "text": True, "help": help})


def flag(default, help):
    """Yes or no."""
    return field(default=default, metadata={"unit": "", "values": (False, True), "help": help})


@dataclass(frozen=True)
class Options:
    """Base of all parameter sets: checks every value against its declared range."""

    def __post_init__(self):
        for f in fields(self):
            value = getattr(self, f.name)
            if not isinstance(value, Options):
                check_value(f, value, f"{type(self).__name__}.{f.name}")


def check_value(f, value, where):
    """Raise InputError when `value` (engine's unit) is not what the field `f` declares."""
    m = f.metadata
    shown = json.dumps(_to_user(value, m["unit"]), default=str)
    default = json.dumps(_to_user(f.default, m["unit"]))
    if "text" in m:
        ok = isinstance(value, str) and bool(value.strip())
    elif "values" in m:
        ok = any(value is v if isinstance(v, bool) or isinstance(value, bool) else value == v for v in m["values"])
    else:
        ok = isinstance(value, (int, float)) and not isinstance(value, bool) and m["low"] <= value <= m["high"]
        ok = ok and math.isfinite(value) and (isinstance(value, int) or not isinstance(f.default, int))
    if not ok:
        raise InputError(
            f"{where} is {shown}, expected {expected(f)}; correct it, or delete the line for the default {default}."
        )


def expected(f):
    """What a field accepts, in the user's unit: `0.01 to 0.66` or `one of "arlo", "nlls"`."""
    m = f.metadata
    if "text" in m:
        return "a text in quotes"
    if "values" in m:
        return "one of " + ", ".join(json.dumps(v) for v in m["values"])
    low, high = (f"{_to_user(m[k], m['unit']):g}" for k in ("low", "high"))
    kind = "a whole number from " if isinstance(f.default, int) else ""
    return f"{kind}{low} to {high} {user_unit(m['unit'])}".rstrip()


def toml_lines(options, table=""):
    """The TOML text of an option set, one line a parameter with its help, range and unit as a comment."""
    nested = []
    if table:
        yield f"[{table}]"
    for f in fields(options):
        value = getattr(options, f.name)
        if isinstance(value, Options):
            nested.append((f.name, value))
            continue
        shown = json.dumps(_to_user(value, f.metadata["unit"]))
        yield f"{f.name} = {shown}  # {f.metadata['help']}; {expected(f)}"
    yield ""
    for name, value in nested:
        yield from toml_lines(value, f"{table}.{name}" if table else name)


def toml_text(table, path=""):
    """TOML of a nested table of plain values; empty for an empty one."""
    plain = [f"{name} = {json.dumps(value)}\n" for name, value in table.items() if not isinstance(value, dict)]
    text = (f"[{path}]\n" if path and plain else "") + "".join(plain)
    nested = {name: value for name, value in table.items() if isinstance(value, dict)}
    return text + "".join(toml_text(value, f"{path}.{name}" if path else name) for name, value in nested.items())


def from_table(options, values, where, table=""):
    """Option set `options` with the values of a parsed TOML table put in; `where` names the file in errors.

    Raises:
        InputError: a name that does not exist, or a value out of its range.
    """
    known = {f.name: f for f in fields(options)}
    changed = {}
    for name, value in values.items():
        path = f"{table}.{name}" if table else name
        if name not in known:
            close = ", ".join(sorted(known))
            raise InputError(
                f"{where}: {path} is not a parameter, expected one of {close}; "
                "correct the name, or see `slicer-qmri config`."
            )
        current = getattr(options, name)
        if isinstance(current, Options):
            if not isinstance(value, dict):
                raise InputError(f"{where}: {path} is a value, expected a table; write its parameters under [{path}].")
            changed[name] = from_table(current, value, where, path)
        else:
            f = known[name]
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            converts = number and isinstance(f.default, float)
            changed[name] = float(from_user(value, f.metadata["unit"])) if converts else value
            check_value(f, changed[name], f"{where}: {path}")
    return dataclasses.replace(options, **changed)


def as_user_dict(options):
    """Nested dictionary of an option set in the user's units, for the provenance record."""
    return {
        f.name: as_user_dict(v) if isinstance(v, Options) else _to_user(v, f.metadata["unit"])
        for f in fields(options)
        for v in (getattr(options, f.name),)
    }


def add_arguments(parser, options, names):
    """Give an argparse parser one option a parameter, in the user's units; `names` gives some a shorter spelling."""
    for f in fields(options):
        unit = user_unit(f.metadata["unit"])
        spelled = [names[f.name]] if f.name in names else []
        spelled.append("--" + f.name.replace("_", "-"))
        text = f"{f.metadata['help']}, {expected(f)} (default {_to_user(f.default, f.metadata['unit'])})"
        if isinstance(f.default, bool):
            parser.add_argument(*spelled, dest=f.name, action=argparse.BooleanOptionalAction, help=f.metadata["help"])
        else:
            kind = type(f.default)
            parser.add_argument(*spelled, dest=f.name, type=kind, metavar=unit.upper() or "VALUE", help=text)


def from_arguments(options, arguments):
    """Option set with the values that were given on the command line."""
    given = {f.name: getattr(arguments, f.name) for f in fields(options)}
    return from_table(options, {name: value for name, value in given.items() if value is not None}, "command line")


def _to_user(value, unit):
    """A value in the user's unit, with as few digits as bring it back exactly."""
    if not isinstance(value, float):
        return value
    shown = to_user(value, unit)
    for digits in (12, 15, 16, 17):
        short = float(f"{shown:.{digits}g}")
        if float(from_user(short, unit)) == value:
            return short
    return float(shown)
