"""The command `slicer-qmri`: words of the user to calls of the engine, and back to exit status and sentences."""

import argparse
import os
import signal
import sys
import threading
import traceback
from contextlib import contextmanager
from pathlib import Path

from . import __version__
from .errors import Cancelled, InputError, sentence

DONE, SOME_FAILED, WRONG_CALL = 0, 1, 2
STEPS = ("estimate", "stage", "regions", "report")  # estimate and report are always done


def main(argv=None):
    """Run one command; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        options = _parser().parse_args(_dashes(arguments))
    except SystemExit as stop:  # argparse has said what was wrong
        return stop.code
    try:
        with _termination_as_interrupt():
            return options.command(options)
    except (InputError, Cancelled, OSError) as error:
        print(f"slicer-qmri: {sentence(error)}", file=sys.stderr)
        return WRONG_CALL
    except KeyboardInterrupt:
        print("slicer-qmri: stopped; nothing half-made was left behind.", file=sys.stderr)
        return SOME_FAILED


@contextmanager
def _termination_as_interrupt():
    """A batch system's SIGTERM ends the run as Ctrl-C does: temporary folders go, the log says it was stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # None where the host program set it


def _dashes(arguments):
    """BIDS Apps spell options with - or _."""

    def spelled(word):
        name, mark, value = word.partition("=")
        return name.replace("_", "-") + mark + value if word.startswith("--") else word

    return [spelled(word) for word in arguments]


def _parser():
    parser = argparse.ArgumentParser(
        prog="slicer-qmri",
        description="Quantitative MRI of multiple sclerosis over BIDS data sets. Research use only.",
    )
    parser.add_argument("--version", action="version", version=f"slicer-qmri {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    _add_simulate(commands)
    _add_demo(commands)
    _add_benchmark(commands)
    config = commands.add_parser("config", help="print every parameter with default, range and help, as TOML")
    config.set_defaults(command=_config)
    return parser


def _add_run(commands):
    from .pipeline import MAPS

    run = commands.add_parser("run", help="estimate the maps of every subject, or merge their results (BIDS App)")
    run.add_argument("bids_dir", type=Path, metavar="BIDS_DIR")
    run.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR")
    run.add_argument("level", choices=("participant", "group"))
    run.add_argument("--participant-label", nargs="+", default=[], metavar="L", help="only these subjects")
    run.add_argument("--session-label", nargs="+", default=[], metavar="S", help="only these sessions")
    run.add_argument(
        "--steps",
        nargs="+",
        choices=STEPS,
        metavar="STEP",
        help=f"only these of {', '.join(STEPS)}; default all that the data allow",
    )
    run.add_argument("--maps", nargs="+", choices=MAPS, help="only these maps; default all that the data allow")
    run.add_argument(
        "--derivatives",
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        help="where masks and labels lie; default every folder in BIDS_DIR/derivatives",
    )
    run.add_argument("--config", type=Path, metavar="FILE.toml", help="parameters, as `slicer-qmri config` prints them")
    run.add_argument(
        "--denoise",
        action=argparse.BooleanOptionalAction,
        help="denoise the images before anything is fitted, or do not; default as denoise.method of --config says",
    )
    run.add_argument("--stop-on-first-crash", action="store_true", help="do not go on after a failed subject")
    _add_common(run)
    run.set_defaults(command=_run)


def _add_common(parser):
    parser.add_argument("--threads", type=_threads, default=os.cpu_count(), metavar="N", help="processor cores to use")
    parser.add_argument("-v", "--verbose", action="store_true", help="show progress and, for failures, the traceback")


def _add_simulate(commands):
    from .parameters import add_arguments
    from .phantom.options import PatientOptions

    simulate = commands.add_parser("simulate", help="write a raw BIDS data set of digital MS patients, with the truth")
    simulate.add_argument("bids_dir", type=Path, metavar="BIDS_DIR")
    simulate.add_argument("--seed", type=int, default=0, help="other numbers, other patients (default 0)")
    simulate.add_argument("--subjects", type=int, default=1, metavar="N", help="number of patients (default 1)")
    simulate.add_argument("--size", type=int, nargs=3, default=(160, 192, 144), metavar=("X", "Y", "Z"), help="voxels")
    simulate.add_argument(
        "--voxel-size", type=float, nargs=3, default=(1.0, 1.0, 1.0), metavar=("X", "Y", "Z"), help="mm"
    )
    simulate.add_argument("--labels", type=Path, metavar="FILE", help="label map to use instead of the made-up anatomy")
    add_arguments(simulate, PatientOptions(), {"field_strength": "--field", "snr": "--noise"})
    _add_common(simulate)
    simulate.set_defaults(command=_simulate)


def _add_demo(commands):
    demo = commands.add_parser("demo", help="simulate one patient, make its maps and the report")
    demo.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR")
    _add_common(demo)
    demo.set_defaults(command=_demo)


def _add_benchmark(commands):
    benchmark = commands.add_parser("benchmark", help="time every stage against memory, FFT and other packages")
    benchmark.add_argument("--quick", action="store_true", help="small volumes, one repetition")
    _add_common(benchmark)
    benchmark.set_defaults(command=_benchmark)


def _threads(text):
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"is {text}, expected a whole number from 1")
    return min(number, os.cpu_count())


def _run(options):
    from QMRILesionStagingLib.settings import StudySettings

    from .io.bids import find_sessions
    from .io.derivatives import prepare_dataset
    from .precompile import compile_ahead
    from .settings import read_settings
    from .threads import use_threads

    if options.level == "group":
        return _group(options.output_dir)
    settings = read_settings(options.config, StudySettings()) if options.config else StudySettings()
    if options.denoise is not None:
        settings = settings.with_denoising(options.denoise)
    derivatives = _derivatives(options.derivatives)
    sessions = find_sessions(options.bids_dir, options.participant_label, options.session_label)
    use_threads(options.threads)
    compile_ahead(options.threads)
    prepare_dataset(options.output_dir, options.bids_dir)
    done = 0
    for subject, session in sessions:
        ended_well = _one(options, subject, session, settings, derivatives)
        done += ended_well
        if not ended_well and options.stop_on_first_crash:
            break
    _follow(options, sessions)
    print(f"{done} of {len(sessions)} done; reports in {options.output_dir}")
    return DONE if done == len(sessions) else SOME_FAILED


def _one(options, subject, session, settings, derivatives):
    """Run one session; True when it is done. A failure is one sentence and harms no other subject."""
    from .io.derivatives import prefix
    from .participant import run_participant

    name = prefix(subject, session)
    show = _progress(name) if options.verbose or sys.stderr.isatty() else None
    try:
        result = run_participant(
            options.bids_dir,
            options.output_dir,
            subject,
            session,
            settings,
            maps=options.maps,
            derivatives=derivatives,
            after=_after(options.steps, settings),
            progress=show,
        )
    except Exception as error:
        print(f"{name}: failed: {sentence(error)}", file=sys.stderr)
        if options.verbose:
            traceback.print_exc()
        return False
    for note in result.notes:
        print(f"{name}: note: {note}", file=sys.stderr)
    print(f"{name}: {', '.join(result.maps)} done")
    return True


def _follow(options, sessions):
    """Lesions from visit to visit, of every subject with several."""
    from QMRILesionStagingLib.visits import follow

    visits = {}
    for subject, session in sessions:
        visits.setdefault(subject, []).append(session)
    for subject, labels in visits.items():
        if len(labels) > 1 and (options.steps is None or "stage" in options.steps):
            for note in follow(options.output_dir, subject, labels):
                print(note, file=sys.stderr)


def _after(steps, settings):
    """What is done with the maps of a session; None where only they were asked for."""
    from QMRILesionStagingLib.participant_stage import stage_session

    wanted = tuple(step for step in ("stage", "regions") if steps is None or step in steps)
    if not wanted:
        return None

    def after(folder, estimate, progress, cancelled):
        return stage_session(folder, estimate, settings, wanted, steps is not None, progress, cancelled)

    return after


def _progress(name):
    last = []

    def show(fraction, text):
        if last != [text]:
            last[:] = [text]
            print(f"{name}: {100 * fraction:3.0f} % {text}", file=sys.stderr, flush=True)

    return show


def _derivatives(pairs):
    """NAME=PATH words as a dictionary; None when none is given."""
    folders = {}
    for pair in pairs:
        name, mark, path = pair.partition("=")
        if not mark or not Path(path).is_dir():
            raise InputError(f"--derivatives {pair}: expected NAME=PATH with an existing folder; correct the path.")
        folders[name] = Path(path)
    return folders or None


def _group(output_dir):
    from QMRILesionStagingLib.cohort import group

    group(output_dir)
    print(f"Open {Path(output_dir) / 'index.html'}")
    return DONE


def _config(options):
    from QMRILesionStagingLib.settings import StudySettings

    from .parameters import toml_lines

    print("\n".join(toml_lines(StudySettings())))
    return DONE


def _simulate(options):
    from .parameters import from_arguments
    from .phantom.options import PatientOptions
    from .phantom.simulate import simulate
    from .threads import use_threads

    use_threads(options.threads)
    simulate(
        options.bids_dir,
        subjects=options.subjects,
        seed=options.seed,
        size=tuple(options.size),
        voxel_size=tuple(options.voxel_size),
        options=from_arguments(PatientOptions(), options),
        labels=options.labels,
        progress=_progress("simulate"),
    )
    print(f"Raw data and truth are in {options.bids_dir}")
    return DONE


def _demo(options):
    from .precompile import compile_ahead

    compile_ahead(options.threads)
    raw, maps = options.output_dir / "raw", options.output_dir / "maps"
    common = ["--threads", str(options.threads)] + ["-v"] * options.verbose
    steps = (
        ["simulate", str(raw), *common],
        ["run", str(raw), str(maps), "participant", *common],
        ["run", str(raw), str(maps), "group"],
    )
    for step in steps:
        print("slicer-qmri", *step, flush=True)
        status = main(step)
        if status != DONE:
            return status
    print(f"Open the report of the patient: {maps / 'sub-01.html'}")
    return DONE


def _benchmark(options):
    from QMRILesionStagingLib.benchmark_staging import staging_stages

    from .benchmark import run_benchmark
    from .threads import use_threads

    use_threads(options.threads)
    run_benchmark(quick=options.quick, more=staging_stages())
    return DONE
