"""Provenance at the end of a report: what was read, with which parameters, by what."""

from .page import Html, details, html, join, table


def record_section(record):
    """The provenance dictionary as tables that open on a click; keys that are absent make no table."""
    software = dict(record.get("software", {}))
    packages = software.pop("packages", {})
    run = [(key.replace("_", " "), record[key]) for key in ("command", "started", "duration_s") if key in record]
    inputs = [
        (item["file"], Html(f'<span class="mono">{html(item.get("sha256") or None)}</span>'))
        for item in record.get("inputs", ())
    ]
    parts = [
        Html('<section id="record"><h2>Record</h2>\n'),
        details("Software", table((), [*software.items(), *packages.items(), *run]), shown=True),
        details("Parameters", table(("Parameter", "Value"), flat(record.get("parameters", {})))),
        details(f"Files read: {len(inputs)}", table(("File", "SHA-256"), inputs)),
    ]
    if record.get("outputs"):
        parts.append(details(f"Files written: {len(record['outputs'])}", table((), [(o,) for o in record["outputs"]])))
    if record.get("timings"):
        times = [(stage, f"{seconds:.1f} s") for stage, seconds in record["timings"].items()]
        parts.append(details("Time taken", table((), times, numeric=(1,))))
    return join(*parts, Html("</section>\n"))


def flat(values, table_name=""):
    """(dotted name, value) of a nested dictionary, in order.

    >>> list(flat({"qsm": {"threshold": 0.15}}))
    [('qsm.threshold', 0.15)]
    """
    for key, value in values.items():
        name = f"{table_name}.{key}" if table_name else str(key)
        if isinstance(value, dict):
            yield from flat(value, name)
        else:
            yield name, value
