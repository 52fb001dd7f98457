"""Every parameter of every step in one place: what `slicer-qmri config` prints and `--config` reads."""

import json
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from .denoise.images import NONE, USUAL, DenoiseOptions
from .errors import InputError
from .given import ReadyOptions
from .mask import MaskOptions
from .parameters import Options, from_table
from .qsm.chain import QsmOptions
from .registration import RegistrationOptions
from .relaxometry.b1 import B1Options
from .relaxometry.b1_free import InformationOptions
from .relaxometry.bssfp import R2Options
from .relaxometry.pd import PdOptions
from .relaxometry.r1 import R1Options
from .relaxometry.r2star import R2starOptions
from .relaxometry.spin_echo import SpinEchoOptions


@dataclass(frozen=True)
class Settings(Options):
    """All option sets; the names are the tables of the TOML file."""

    denoise: DenoiseOptions = DenoiseOptions()
    mask: MaskOptions = MaskOptions()
    ready: ReadyOptions = ReadyOptions()
    registration: RegistrationOptions = RegistrationOptions()
    r2star: R2starOptions = R2starOptions()
    b1: B1Options = B1Options()
    b1_free: InformationOptions = InformationOptions()
    r1: R1Options = R1Options()
    r2: R2Options = R2Options()
    spin_echo: SpinEchoOptions = SpinEchoOptions()
    pd: PdOptions = PdOptions()
    qsm: QsmOptions = QsmOptions()

    def with_denoising(self, wanted):
        """These settings with denoising (by multispectral non-local means unless another method is set) or without."""
        method = NONE if not wanted else USUAL if self.denoise.method == NONE else self.denoise.method
        return replace(self, denoise=replace(self.denoise, method=method))


def read_settings(path, defaults=Settings()):
    """Settings from a TOML file, or from the log of an earlier run; what it does not name is as in `defaults`.

    Raises:
        InputError: the file is missing, is neither, or holds a wrong name or value.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        values = _of_log(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise InputError(
            f"{path}: the file cannot be read ({error.strerror}); give --config an existing TOML file, "
            "such as `slicer-qmri config` prints."
        ) from None
    except ValueError as error:  # of TOML, JSON and UTF-8
        raise InputError(
            f"{path}: not a TOML file or log of a run ({error}); compare with `slicer-qmri config`."
        ) from None
    return from_table(defaults, values, path.name)


def _of_log(text):
    """Parameters of the log of a run."""
    record = json.loads(text)
    if not isinstance(record, dict) or not isinstance(record.get("parameters"), dict):
        raise ValueError("it is JSON, but not the log of a run")
    return record["parameters"]
