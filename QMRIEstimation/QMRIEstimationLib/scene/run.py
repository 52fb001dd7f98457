"""From images of the scene to maps in the scene: in this process for scripts, in a second one for the panel."""

import shlex
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..background import BackgroundRun
from ..errors import Cancelled, InputError
from ..io.derivatives import prefix, prepare_dataset
from ..io.text import write_text
from ..parameters import as_user_dict, toml_lines
from ..participant import run_participant
from .attributes import DICOM_FILE, acquisition_of
from .raw import write_raw
from .results import add_results, read_results
from .sources import file_of

CONFIG = "settings.toml"


@dataclass(frozen=True, eq=False)
class Request:
    """What is to be made of what.

    Attributes:
        nodes: images, described by their attributes. subject, session: labels without prefix.
        maps: names, or None for all that the images allow. settings: settings.Settings.
        field_strength: T, or None where the images say it. brain_mask, lesions, tissue: nodes or None.
        output_dir: derivative data set that keeps the files, or None.
    """

    nodes: tuple
    subject: str
    session: str
    maps: tuple | None
    settings: object
    field_strength: float | None = None
    brain_mask: object = None
    lesions: object = None
    tissue: object = None
    output_dir: Path | None = None

    @property
    def folder_name(self):
        """Of the results in the subject hierarchy."""
        return prefix(self.subject, self.session) if self.subject != "scene" else "Quantitative maps"


class _Workplace:
    """A temporary folder with the raw data of a request; its results go to `output`."""

    def __init__(self, request):
        self.request = request
        self.folder = Path(tempfile.mkdtemp(prefix="qmri-"))
        try:
            self.raw = write_raw(
                request.nodes,
                self._made("raw"),
                request.subject,
                request.session,
                field_strength=request.field_strength,
                brain_mask=request.brain_mask,
                lesions=request.lesions,
                tissue_labels=request.tissue,
            )
            self.output = Path(request.output_dir) if request.output_dir else self._made("maps")
        except BaseException:
            self.clear()
            raise

    def nodes(self, scene):
        """The results as nodes of a scene."""
        images = read_results(self.output, self.request.subject, self.request.session)
        settings = as_user_dict(self.request.settings)
        nodes = add_results(images, scene, self.request.folder_name, settings, self.raw.readable)
        source = next((path for node in self.request.nodes if (path := node.GetAttribute(DICOM_FILE))), None)
        for node in nodes.values():
            node.SetAttribute(DICOM_FILE, source)  # whose maps these are
        return nodes

    def clear(self):
        """Take the temporary folder away."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _made(self, name):
        folder = self.folder / name
        folder.mkdir()
        return folder


def process(request, scene, progress=None, cancelled=None):
    """Make the maps in this process and put them into the scene.

    Returns:
        key (`R2star`, `R2star SD`, ...) -> node; and sentences.
    Raises:
        InputError, Cancelled: after which the scene is as it was.
    """
    work = _Workplace(request)
    try:
        prepare_dataset(work.output, work.raw.folder)
        result = run_participant(
            work.raw.folder,
            work.output,
            request.subject,
            request.session,
            request.settings,
            maps=request.maps,
            progress=progress,
            cancelled=cancelled,
        )
        if cancelled is not None and cancelled():
            raise Cancelled("cancelled by the user")
        return work.nodes(scene), tuple(work.raw.readable(note) for note in result.notes)
    except InputError as error:
        raise type(error)(work.raw.readable(str(error))) from error
    finally:
        work.clear()


class SceneRun:
    """The maps of a request in a second process; `running` is asked now and then, `finish` brings the nodes."""

    def __init__(self, request):
        self._work = _Workplace(request)
        try:
            config = self._work.folder / CONFIG
            write_text(config, settings_text(request))
            arguments = arguments_of(request, self._work.raw.folder, self._work.output, config)
            self._run = BackgroundRun([*arguments, "--force", "-v"], self._work.folder / "log.txt")
        except BaseException:
            self._work.clear()
            raise

    @property
    def running(self):
        """Whether it is still going on."""
        return self._run.running

    @property
    def fraction(self):
        """How far it is, 0 to 1."""
        return self._run.fraction

    @property
    def text(self):
        """What it is doing."""
        return self._run.text

    @property
    def seconds_left(self):
        """Time that is left, s; None where it cannot be told yet."""
        return self._run.seconds_left

    @property
    def output(self):
        """Everything that the second process printed, with the names of nodes."""
        return self._work.raw.readable(self._run.output)

    def cancel(self):
        """Stop it and take everything away that it left."""
        self._run.cancel()
        self._work.clear()

    def finish(self, scene):
        """Nodes and sentences, as `process` gives them; the temporary files go.

        Raises:
            InputError: with the sentence of the engine. Cancelled. After both the scene is as it was.
        """
        try:
            if self._run.cancelled:
                raise Cancelled(self._run.error)
            if self._run.error:
                raise InputError(self._work.raw.readable(self._run.error))
            return self._work.nodes(scene), tuple(self._work.raw.readable(note) for note in self._run.notes)
        finally:
            self._work.clear()


def arguments_of(request, raw, output, config=None):
    """Arguments of `slicer-qmri` that make the same maps of the same images on disk."""
    words = ["run", str(raw), str(output), "participant", "--participant-label", request.subject]
    words += ["--session-label", request.session] if request.session else []
    words += ["--maps", *request.maps] if request.maps else []
    words += ["--steps", "estimate"]
    return words + (["--config", str(config)] if config else [])


def command_of(request):
    """The line that makes the same maps without Slicer, for the data set that the images come from."""
    folders = {_dataset_of(node) for node in request.nodes if acquisition_of(node).used}
    raw = folders.pop() if len(folders) == 1 else None
    output = request.output_dir or "OUTPUT_DIR"
    return "slicer-qmri " + shlex.join(arguments_of(request, raw or "BIDS_DIR", output, CONFIG))


def settings_text(request):
    """All parameters of a request as the TOML file that `--config` reads."""
    return "\n".join(toml_lines(request.settings))


def _dataset_of(node):
    path = file_of(node)
    parents = path.parents if path is not None else ()
    return next((p for p in parents if (p / "dataset_description.json").is_file()), None)
