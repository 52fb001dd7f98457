"""Susceptibility of the multi-echo scan: what can be made, where its field comes from, and the map."""

from typing import NamedTuple

import numpy as np

from .acquisition import acquisition_parameters
from .consensus import consensus_paragraph, consensus_record
from .errors import InputError
from .maps import QuantitativeMap
from .qsm.chain import susceptibility
from .qsm.field import FieldMap, field_from_elsewhere, field_map
from .qsm.quality import trusted_phase
from .resample import nearest_on_grid
from .units import hz_per_ppm

STAGES = ("local_field", "total_field", "unwrapped_phase")  # the latest that is given counts


class FieldSource(NamedTuple):
    """What the field is made from: given stages by kind, and whether there is phase of use."""

    given: dict
    phase: bool

    @property
    def makes_field_map(self):
        return self.phase or bool({"total_field", "unwrapped_phase"} & set(self.given))


class Fields(NamedTuple):
    """`field`: FieldMap that R2* and chi share, or None. `local`: given local field, Hz, or None. Sentences."""

    field: FieldMap | None
    local: np.ndarray | None
    notes: tuple = ()


def field_source(session, scan, ready):
    """FieldSource of a scan: the given stages that the settings let count."""
    given = {kind: session.fields[kind] for kind in STAGES if kind in session.fields and getattr(ready, kind)}
    if "total_field" in given:
        given.pop("unwrapped_phase", None)
    return FieldSource(given, scan.has_phase and not scan.phase_problem)


def wants_chi(scan, source, wanted, explicit):
    """Whether chi is to be made; raises when the phase is there, or was asked for, but cannot be used."""
    if "Chi" not in wanted:
        return False
    cure = "or leave out QSM with --maps R2star."
    if not source.given:
        if scan.phase_problem:
            raise InputError(f"{scan.phase_problem.rstrip('.')}, {cure}")
        if not scan.has_phase:
            if explicit:
                raise InputError(f"{scan.name}: there is no phase image, QSM needs one; add part-phase files, {cure}")
            return False
    if scan.field_strength is None:
        raise InputError(
            f"{scan.sources[0] if scan.sources else scan.name}: MagneticFieldStrength is missing, "
            f"QSM needs it in tesla; add it, {cure}"
        )
    try:
        scan.geometry.b0_dir  # noqa: B018 - raises when the direction is unknown
    except InputError as error:
        raise InputError(f"{scan.name}: {str(error).rstrip('.')}, {cure}") from None
    return True


def fields_of(scan, source, magnitude, phase, mask, noise, options, steps):
    """Fields of a scan.

    Raises:
        InputError: a given stage does not belong to the scan. Cancelled.
    """
    notes = [
        f"{given.name}: was taken for the {kind.replace('_', ' ')} instead of making it (ready.{kind})."
        for kind, given in source.given.items()
    ]
    local = _read(source.given["local_field"], scan)[0] if "local_field" in source.given else None
    made = None
    if "total_field" in source.given:
        total = _read(source.given["total_field"], scan)[0]
        made = field_from_elsewhere(total, magnitude, scan.echo_times, mask, noise, options.field)
    elif "unwrapped_phase" in source.given:
        phase = _read(source.given["unwrapped_phase"], scan)
    if made is None and source.makes_field_map:
        made = field_map(
            magnitude, phase, scan.echo_times, mask, scan.geometry, noise, options.field, steps.report,
            steps.cancelled, "unwrapped_phase" in source.given,
        )  # fmt: skip
    return Fields(made, local, (*notes, *(made.notes if made is not None else ())))


def chi_map(scan, source, fields, magnitude, phase, mask, r2star, session, settings, noise, steps):
    """QuantitativeMap of susceptibility and the chain.Susceptibility it was made from.

    Raises:
        InputError, Cancelled.
    """
    options = settings.qsm
    if options.quality.use != "weight" and not source.phase:
        raise InputError(
            f"{scan.name}: there is no phase to judge, qsm.quality.use is {options.quality.use}; set it to weight."
        )
    field = fields.field
    if field is None:  # a local field alone: its precision is that of these echoes
        field = field_from_elsewhere(fields.local, magnitude, scan.echo_times, mask, noise, options.field)
    told = not {"total_field", "local_field"} & set(source.given)  # else the stored phase says nothing of the sign
    result = susceptibility(
        field,
        magnitude,
        mask,
        scan.geometry,
        scan.field_strength,
        options,
        r2star=None if r2star is None else r2star.values,
        header_polarity=scan.phase_polarity if told else 0,
        imaging_frequency=scan.imaging_frequency,
        progress=steps.report,
        cancelled=steps.cancelled,
        local_field=fields.local,
        trusted=None if options.quality.use == "weight" else trusted_phase(magnitude, phase, scan.geometry),
        segment=_segment(session, scan.geometry, options.reference),
        denoised=scan.noise is not None and scan.noise.share is not None,
    )
    table = consensus_record(scan, options, result, field, tuple(source.given))
    chi = QuantitativeMap(
        name="Chi",
        values=result.chi,
        sd=result.sd,
        quality=result.quality,
        valid=result.valid,
        geometry=scan.geometry,
        algorithm=result.algorithm,
        reference=result.reference,
        quality_meaning=result.quality_meaning,
        parameters=acquisition_parameters(scan)
        | {
            "B0_dir": [round(float(b), 6) for b in scan.geometry.b0_ras],
            "PhaseSign": {1: 1, -1: -1}.get(result.phase_sign, "undetermined"),
            "ReferenceRegion": options.reference.region,
            "ReferenceOffset": round(float(result.reference_offset), 6),
            "StreakIndex": round(result.streaks, 3),
            "SusceptibilityReport": table,
            "MethodsParagraph": consensus_paragraph(table),
        },
        sources=scan.sources + tuple(name for given in source.given.values() for name in given.sources),
    )
    return chi, result


def _read(given, scan):
    """Values of a given stage, Hz or rad, float32 [volume, k, j, i]; one volume, or one an echo."""
    values, geometry, unit = given.read()
    expected = len(scan.echo_times) if given.kind == "unwrapped_phase" else 1
    off = f"set ready.{given.kind} to false to have it made."
    if len(values) != expected:
        raise InputError(
            f"{given.name}: holds {len(values)} volumes, expected {expected}, one for each echo of {scan.name}; {off}"
        )
    if not geometry.same_grid(scan.geometry):
        raise InputError(
            f"{given.name}: lies on another grid than {scan.name}, expected the grid of the multi-echo scan, because "
            f"phase and field are never resampled; export it there, or {off}"
        )
    if unit == "ppm":
        if scan.field_strength is None:
            raise InputError(
                f"{given.name}: is in ppm, for which MagneticFieldStrength of {scan.name} is needed in tesla; add it, "
                f"or {off}"
            )
        per_ppm = scan.imaging_frequency * 1e-6 if scan.imaging_frequency else hz_per_ppm(scan.field_strength)
        values = values * np.float32(per_ppm)
    return values


def _segment(session, geometry, options):
    """Voxels of the tissue label that chi is referred to, or None when another region is."""
    if options.region != "segment":
        return None
    if session.tissue is None:
        raise InputError(
            f"sub-{session.subject}: there are no tissue labels, chi is to be referenced to the segment "
            f'{options.segment}; add a dseg image to a derivative, or set qsm.reference.region to "whole brain".'
        )
    labels, own, names = session.tissue()
    wanted = options.segment.lower()
    chosen = [label for label, name in names.items() if name.lower() == wanted or name.lower().startswith(wanted + " ")]
    if not chosen:
        raise InputError(
            f"sub-{session.subject}: no tissue label is called {options.segment}, expected one of "
            f"{', '.join(names.values())}; correct qsm.reference.segment."
        )
    return nearest_on_grid(np.isin(labels, chosen), own, geometry).astype(bool)
