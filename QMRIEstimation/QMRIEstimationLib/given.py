"""Maps that are given: which count, where they are put and what is said of them."""

from dataclasses import dataclass, replace

from .alignment import moved_map
from .errors import InputError
from .parameters import Options, flag

HELPERS = {"R1": ("R2", "R2star"), "R2": ("R1",), "PD": ("R2", "R2star"), "R2star": (), "Chi": ("R2star",)}


def _taken(what):
    return flag(True, f"take {what} from a derivative, where there is one, instead of estimating it")


@dataclass(frozen=True)
class ReadyOptions(Options):
    """Which results of other programs are taken."""

    r1: bool = _taken("R1map or T1map")
    r2: bool = _taken("R2map or T2map")
    r2star: bool = _taken("R2starmap or T2starmap")
    pd: bool = _taken("PDmap")
    chi: bool = _taken("Chimap")
    unwrapped_phase: bool = _taken("the unwrapped phase (part-phase_desc-unwrapped)")
    total_field: bool = _taken("the total field (desc-total_fieldmap)")
    local_field: bool = _taken("the local field (desc-local_fieldmap)")


def given_maps(session, wanted, options):
    """Dictionary of the given maps that are wanted or help to make those: QuantitativeMap on its own grid each.

    Raises:
        InputError: a map that counts cannot be read.
    """
    missing = [name for name in wanted if name not in session.ready or not getattr(options, name.lower())]
    names = {*wanted, *(helper for name in missing for helper in HELPERS[name])}
    return {name: read() for name, read in session.ready.items() if name in names and getattr(options, name.lower())}


def placed(result, geometry, mask):
    """A given map on the reference grid by the positions in both headers; chi in the brain only, where 0 is a value.

    Raises:
        InputError: it has no voxel in the brain.
    """
    there = moved_map(result, geometry, None)
    if not (there.valid & mask).any():
        raise InputError(
            f"{result.sources[0]}: the given {result.name} map has no voxel in the brain; check that its header "
            f"belongs to this visit, or set ready.{result.name.lower()} to false to have it estimated."
        )
    return replace(there, valid=there.valid & mask) if result.name == "Chi" else there


def notes_of(given):
    """One or two sentences about each map that was taken."""
    for result in given.values():
        name = result.sources[0]
        yield (
            f"{name}: was taken for {result.name} instead of estimating it (ready.{result.name.lower()}), at the place "
            "that its header gives; it was not registered."
        )
        if not result.sd.any():
            yield (
                f"{name}: came without a standard deviation, so that of {result.name} is unknown and shown as 0, and "
                "maps made with its help look more certain than they are."
            )
