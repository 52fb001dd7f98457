"""What was scanned, and where each parameter came from."""

import math

from ..acquisition import Role
from ..geometry import SCANNER_Z
from ..units import to_user
from .page import Html, details, html, join, table


def scan_section(estimate, view):
    """Tables of the scans of a session: those that maps were made of first, the multi-echo scan open."""
    parts = [Html('<section id="scans"><h2>What was scanned</h2>\n')]
    used = sorted(used_scans(estimate), key=lambda scan: scan.role is not Role.MULTI_ECHO_GRE)
    for scan in [*used, *(scan for scan in estimate.session.scans if scan not in used)]:
        rows = [*_parameters(scan), *_grid(scan)]
        body = table(("Parameter", "Value", "From"), rows)
        mark = "" if scan in used else " (not used by these maps)"
        parts.append(details(f"{scan.role.value}: {scan.name}{mark}", body, shown=scan in used[:1]))
    if not estimate.session.scans:
        parts.append(Html("<p>No scans are on record.</p>"))
    grid = estimate.geometry
    text = f"Maps lie on a grid of {_product(grid.shape)} voxels of {_product(grid.voxel_size)} mm (i, j, k)."
    parts.append(Html(f'<p class="soft">{html(text)}</p></section>\n'))
    return join(*parts)


def used_scans(estimate):
    """The scans that a map was made of."""
    sources = {source for result in estimate.maps.values() for source in result.sources}
    return [scan for scan in estimate.session.scans if sources & set(scan.sources)]


def echo_times_text(scan):
    """Echo times in ms: all of them, with their number."""
    times = ", ".join(f"{to_user(te, 's'):.4g}" for te in scan.echo_times)
    return f"{times} ms" + (f" ({len(scan.echo_times)} echoes)" if len(scan.echo_times) > 1 else "")


def _parameters(scan):
    """(parameter, value, origin) of everything the scan knows."""

    def shown(value, form):
        return None if value is None else form(value)

    def angle(value):
        return f"{to_user(value, 'rad'):.4g} degrees"

    known = (  # attribute of the scan, its label and its text
        ("echo_times", "Echo times", echo_times_text(scan) if scan.echo_times else None),
        ("flip_angle", "Flip angle", shown(scan.flip_angle, angle)),
        ("repetition_time", "Repetition time", shown(scan.repetition_time, lambda tr: f"{to_user(tr, 's'):.5g} ms")),
        ("spoiling_increment", "RF spoiling increment", shown(scan.spoiling_increment, angle)),
        ("phase_cycle", "Phase-cycling increment", shown(scan.phase_cycle, angle)),
        ("field_strength", "Field strength", shown(scan.field_strength, lambda b0: f"{b0:g} T")),
        ("imaging_frequency", "Imaging frequency", shown(scan.imaging_frequency, lambda f: f"{f / 1e6:.6g} MHz")),
        ("phase_polarity", "Phase", _phase_text(scan)),
        ("manufacturer", "Manufacturer", scan.manufacturer or None),
    )
    for name, label, value in known:
        if value is not None:
            yield label, value, scan.origin.get(name, "")


def _phase_text(scan):
    sign = {1: "+1", -1: "-1"}.get(scan.phase_polarity, "not stated")
    return f"present, sign by the header: {sign}" if scan.has_phase else "none"


def _grid(scan):
    geometry = scan.geometry
    yield "Grid (i, j, k)", f"{_product(geometry.shape)} voxels", "image header"
    yield "Voxel size (i, j, k)", f"{_product(geometry.voxel_size)} mm", "image header"
    measured = geometry.effective_voxel_size
    interpolated = not all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(measured, geometry.voxel_size, strict=True))
    text = f"{_product(measured)} mm" + (", the images were interpolated" if interpolated else "")
    yield (
        "Effective voxel (i, j, k)",
        text,
        scan.origin.get("acquired_voxel_size", "" if interpolated else "image header"),
    )
    direction, known = "unknown: the image was aligned to another space", ""
    if geometry.b0_ras is not None:
        direction = f"({', '.join(f'{b:.3f}' for b in geometry.b0_ras)}) in RAS"
        direction += f"; ({', '.join(f'{b:.3f}' for b in geometry.b0_dir[::-1])}) along i, j, k"
        known = "scanner's z axis, image header" if tuple(geometry.b0_ras) == SCANNER_Z else ""
    yield "B0 direction", direction, scan.origin.get("b0_ras", known)


def _product(sizes):
    """Sizes [k, j, i] as people write them, i first."""
    return " x ".join(f"{size:.4g}" for size in sizes[::-1])
