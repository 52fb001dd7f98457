"""The command `slicer-qmri`: words of the user to calls of the engine, and back to exit status and sentences."""

import argparse
import os
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

from . import __version__
from .cli_run import add_run
from .cli_words import DONE, SOME_FAILED, WRONG_CALL, add_common, progress_of
from .errors import Cancelled, InputError, sentence


def main(argv=None):
    """Run one command; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        options = _parser().parse_args(_dashes(arguments))
    except SystemExit as stop:  # argparse has said what was wrong
        return stop.code
    options.threads_given = getattr(options, "threads", None) is not None
    options.threads = options.threads if options.threads_given else os.cpu_count()
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
    add_run(commands)
    _add_simulate(commands)
    _add_demo(commands)
    _add_benchmark(commands)
    config = commands.add_parser("config", help="print every parameter with default, range and help, as TOML")
    config.set_defaults(command=_config)
    return parser


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
    add_common(simulate)
    simulate.set_defaults(command=_simulate)


def _add_demo(commands):
    demo = commands.add_parser("demo", help="simulate one patient, make its maps and the report")
    demo.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR")
    add_common(demo)
    demo.set_defaults(command=_demo)


def _add_benchmark(commands):
    benchmark = commands.add_parser("benchmark", help="time every stage against memory, FFT and other packages")
    benchmark.add_argument("--quick", action="store_true", help="small volumes, one repetition")
    add_common(benchmark)
    benchmark.set_defaults(command=_benchmark)


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
        progress=progress_of("simulate"),
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
    from .benchmark_cohort import cohort_benchmark
    from .threads import use_threads

    use_threads(options.threads)
    run_benchmark(quick=options.quick, more=staging_stages())
    cohort_benchmark(options.quick)
    return DONE
