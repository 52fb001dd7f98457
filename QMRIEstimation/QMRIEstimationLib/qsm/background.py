"""Background field removal: which method, with which weight, and what it says of itself."""

from dataclasses import dataclass

import numpy as np

from ..parameters import Options, choice
from .harperella import HarperellaOptions, harperella
from .ismv import IsmvOptions, ismv
from .lbv import LbvOptions, lbv
from .method import Method, settings_of
from .pdf import PdfOptions, pdf
from .reliable import ReliabilityOptions, without_weak_surface
from .resharp import ResharpOptions, resharp
from .vsharp import SharpOptions, VsharpOptions, sharp, vsharp

# A function takes (total field, weight, mask, geometry, its settings, progress, cancelled) and returns the local field,
# where it is valid, and a sentence or None.
BACKGROUND_METHODS = {
    "pdf": Method("weighted projection onto dipole fields (PDF)", "Liu T et al. 2011, NMR Biomed 24:1129-1136", pdf),
    "v-sharp": Method("V-SHARP", "Wu B et al. 2012, Magn Reson Med 67:137-147", vsharp, weighted=False),
    "sharp": Method("SHARP", "Schweser F et al. 2011, NeuroImage 54:2789-2807", sharp, weighted=False),
    "resharp": Method("RESHARP", "Sun H, Wilman AH 2014, Magn Reson Med 71:1151-1157", resharp, weighted=False),
    "ismv": Method("iSMV", "Wen Y et al. 2014, Magn Reson Med 72:1065-1071", ismv, weighted=False),
    "lbv": Method("Laplacian boundary value (LBV)", "Zhou D et al. 2014, NMR Biomed 27:312-319", lbv, weighted=False),
    "harperella": Method("HARPERELLA", "Li W et al. 2014, NMR Biomed 27:219-227", harperella, weighted=False),
}


@dataclass(frozen=True)
class BackgroundOptions(Options):
    """Settings of the background field removal."""

    method: str = choice("pdf", BACKGROUND_METHODS, "pdf keeps the whole brain; v-sharp loses its surface")
    pdf: PdfOptions = PdfOptions()
    v_sharp: VsharpOptions = VsharpOptions()
    sharp: SharpOptions = SharpOptions()
    resharp: ResharpOptions = ResharpOptions()
    ismv: IsmvOptions = IsmvOptions()
    lbv: LbvOptions = LbvOptions()
    harperella: HarperellaOptions = HarperellaOptions()
    reliability: ReliabilityOptions = ReliabilityOptions()


@dataclass(frozen=True, eq=False)
class LocalField:
    """Local field (float32 [k, j, i], unit of the total field, 0 where not valid), where it is valid, and sentences."""

    field: np.ndarray
    valid: np.ndarray
    notes: tuple = ()


def remove_background(total_field, weight, field_sd, mask, geometry, options, progress=None, cancelled=None):
    """LocalField of a total field.

    Args:
        total_field: float32 [k, j, i]. field_sd: its SD, same unit, 0 where there is no field. weight: float32, its
            reliability over the SD, for methods that take a weight; the others lose the weak surface of the mask.
        mask: bool [k, j, i]. geometry: voxel size, mm, and B0 direction. options: BackgroundOptions.
    Raises:
        ValueError: the shapes differ. InputError: the B0 direction is unknown. Cancelled.
    """
    method = BACKGROUND_METHODS[options.method]
    if method.weighted:
        known = mask & (field_sd > 0)
    else:
        known = without_weak_surface(mask, field_sd, geometry, options.reliability)
    if not known.any():
        return LocalField(np.zeros(mask.shape, np.float32), known)
    own = settings_of(options, options.method)
    field, valid, note = method.function(total_field, weight, known, geometry, own, progress, cancelled)
    return LocalField(field, valid, (note,) if note else ())
