"""The methods paragraph of a paper, from what was really done."""

from ..units import to_user
from .page import Html, html, join
from .summary import echo_times_text, used_scans


def methods_paragraph(estimate, displays, record):
    """A paragraph with numbered references, ready to be copied, Html."""
    return methods_section(methods_of(estimate, displays, record))


def methods_section(methods, more=""):
    """The section of a page. methods: as `methods_of`. more: Html below."""
    listed = "".join(f"<li>{html(reference)}</li>" for reference in methods["references"])
    return join(
        Html('<section id="methods"><h2>Methods</h2><p>'), methods["text"], Html("</p>"),
        Html(f'<ol class="soft">{listed}</ol>{html(more)}</section>\n'),
    )  # fmt: skip


def methods_of(estimate, displays, record):
    """What was done to a session, for a paper: {"text": paragraph, "references": those that it numbers from 1 on}.

    Args:
        estimate: maps.Estimate. displays: name of map -> display.Display. record: of provenance.
    """
    references = []

    def cite(reference):
        if reference and reference not in references:
            references.append(reference)
        return f" [{references.index(reference) + 1}]" if reference else ""

    software = record.get("software", {})
    packages = ", ".join(f"{name} {version}" for name, version in software.get("packages", {}).items())
    with_what = ", ".join(part for part in (f"Python {software.get('python', 'n/a')}", packages) if part)
    sentences = [
        f"Quantitative maps were computed with {software.get('name', 'slicer-qmri')} "
        f"{software.get('version', '')} ({with_what}).",
        *dict.fromkeys(_scan_sentence(scan) for scan in used_scans(estimate)),
    ]
    if "denoising" in estimate.figures:
        sentences.append(
            f"Before anything was fitted the images were denoised by {estimate.figures['denoising']}; the phase that "
            "susceptibility is made of was left as measured."
        )
    for name, display in displays.items():
        result = estimate.maps[name]
        sentences.append(f"{display.title} ({display.unit}): {result.algorithm.rstrip('.')}{cite(result.reference)}.")
        if name == "Chi":
            sentences.append(result.parameters.get("MethodsParagraph", ""))
    sentences.append("Uncertainty is one standard deviation, propagated from the measured noise through the estimate.")
    return {"text": " ".join(filter(None, sentences)), "references": references}


def _scan_sentence(scan):
    """`Multi-echo GRE at 3 T: echo times 5, 10 ms (2 echoes), flip angle 15 degrees, measured voxel 1 x 1 x 2 mm.`"""
    parts = [f"echo times {echo_times_text(scan)}"] if scan.echo_times else []
    if scan.repetition_time is not None:
        parts.append(f"repetition time {to_user(scan.repetition_time, 's'):.4g} ms")
    if scan.flip_angle is not None:
        parts.append(f"flip angle {to_user(scan.flip_angle, 'rad'):.4g} degrees")
    parts.append("measured voxel " + " x ".join(f"{s:.3g}" for s in scan.geometry.effective_voxel_size[::-1]) + " mm")
    strength = f" at {scan.field_strength:g} T" if scan.field_strength else ""
    role = scan.role.value[:1].upper() + scan.role.value[1:]
    return f"{role}{strength}: {', '.join(parts)}."
