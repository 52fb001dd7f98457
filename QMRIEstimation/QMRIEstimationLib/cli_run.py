"""`slicer-qmri run`: the participant level, each subject and session kept as soon as it is done, and the group."""

import argparse
import statistics
import sys
import time
import traceback
from pathlib import Path

from .cli_words import DONE, SOME_FAILED, add_common, count, gigabytes, progress_of
from .errors import InputError, sentence

STEPS = ("estimate", "stage", "regions", "template", "report")  # a report is always made
ONLY_REPORT = ["report"]


def add_run(commands):
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
        help=f"only these of {', '.join(STEPS)}, without estimate on the maps of an earlier run; default all that the "
        "data allow",
    )
    run.add_argument("--maps", nargs="+", choices=MAPS, help="only these maps; default all that the data allow")
    run.add_argument(
        "--derivatives",
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        help="where masks and labels lie; default every folder in BIDS_DIR/derivatives",
    )
    run.add_argument("--config", type=Path, metavar="FILE.toml", help="parameters, as `config` prints them, or a log")
    run.add_argument(
        "--denoise",
        action=argparse.BooleanOptionalAction,
        help="denoise the images before anything is fitted, or do not; default as denoise.method of --config says",
    )
    run.add_argument("--nprocs", type=count, metavar="N", help="subjects at a time; default as many as have room")
    run.add_argument("--mem-gb", type=gigabytes, metavar="G", help="memory for all of them; default nine tenths of it")
    run.add_argument(
        "--scheduler", metavar="ADDRESS_OR_FILE", help="dask scheduler whose workers do the work, or the file it wrote"
    )
    run.add_argument(
        "--controls", type=Path, metavar="TABLE.tsv", help="group level: desc-regions_stats.tsv of controls elsewhere"
    )
    run.add_argument("--reports-only", action="store_true", help="only write the reports anew; as --steps report")
    run.add_argument("--force", action="store_true", help="make again what is done already")
    run.add_argument("--stop-on-first-crash", action="store_true", help="do not go on after a failed subject")
    add_common(run)
    run.set_defaults(command=_run)


def _run(options):
    from QMRILesionStagingLib.settings import StudySettings

    from .io.bids import find_sessions
    from .io.derivatives import prepare_dataset
    from .precompile import compile_ahead
    from .runner.unit import Fingerprints, Unit, is_done
    from .settings import read_settings
    from .threads import use_threads

    if options.level == "group":
        return _group(options)
    if options.controls is not None:
        raise InputError("--controls belongs to the group level; leave it out here.")
    if options.reports_only:
        if options.steps not in (None, ONLY_REPORT):
            raise InputError("--reports-only and --steps exclude each other; leave one of them out.")
        options.steps = ONLY_REPORT
    settings = read_settings(options.config, StudySettings()) if options.config else StudySettings()
    if options.denoise is not None:
        settings = settings.with_denoising(options.denoise)
    derivatives = _derivatives(options.derivatives)
    units = [Unit(*s) for s in find_sessions(options.bids_dir, options.participant_label, options.session_label)]
    use_threads(options.threads)
    compile_ahead(options.threads)
    prepare_dataset(options.output_dir, options.bids_dir)
    choices = {"maps": options.maps, "steps": options.steps}
    fingerprints = Fingerprints(options.bids_dir, derivatives, settings, choices)
    made_of = {unit: fingerprints.of(unit) for unit in units}
    again = options.force or options.steps == ONLY_REPORT
    before = [unit for unit in units if not again and is_done(options.output_dir, unit, made_of[unit])]
    if before:
        print(f"{len(before)} done before and kept (--force makes them again): {_some([u.name for u in before])}")
    todo = [unit for unit in units if unit not in before]
    if _apart(options, todo):
        done = _run_apart(options, todo)
    else:
        done = 0
        for unit in todo:
            ended_well = _one(options, unit, settings, derivatives, made_of[unit])
            done += ended_well
            if not ended_well and options.stop_on_first_crash:
                break
    done += len(before)
    _follow(options, units)
    print(f"{done} of {len(units)} done; reports in {options.output_dir}")
    return DONE if done == len(units) else SOME_FAILED


def _some(names, most=8):
    """Names for a line, the rest counted."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _apart(options, units):
    """Whether units run in processes of their own: whenever they are several and can, or elsewhere."""
    from .background import python_program

    return bool(units and options.scheduler) or (len(units) > 1 and python_program() is not None)


def _run_apart(options, units):
    """Run units in processes of their own, here or on a cluster; returns how many are done."""
    from .background import BackgroundRun
    from .runner.cluster import connect, run_on_cluster
    from .runner.local import run_local
    from .runner.memory import GB, machine_memory, needed_memory

    logs = options.output_dir.resolve() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    client = connect(options.scheduler) if options.scheduler else None
    need = {unit: needed_memory(options.bids_dir, unit) for unit in units}
    budget = round(options.mem_gb * GB) if options.mem_gb else machine_memory()
    room = max(1, round(budget // statistics.median(need.values())))  # one that is larger waits until others are done
    slots = min(options.nprocs or options.threads, len(units), room)
    threads = max(1, options.threads // slots)
    if client is not None:
        threads = options.threads if options.threads_given else 1  # workers run several units at a time

    def words_of(unit):
        return _words(options, unit, threads)

    def log_of(unit):
        return logs / f"{unit.name}.txt"

    tell, stop = _teller(options, len(units)), options.stop_on_first_crash
    if client is not None:
        with client:
            outcomes = run_on_cluster(client, units, words_of, log_of, need, tell, stop)
    else:
        outcomes = run_local(
            units, lambda unit: BackgroundRun(words_of(unit), log_of(unit)), need, slots, budget, tell, stop
        )
    return sum(not outcome.error for outcome in outcomes.values())


def _words(options, unit, threads):
    """The call that makes one unit in a process of its own; paths hold wherever it is started."""
    words = ["run", options.bids_dir.resolve(), options.output_dir.resolve(), "participant", "--force", "-v"]
    words += ["--participant-label", unit.subject, "--threads", threads]
    words += ["--session-label", unit.session] if unit.session else []
    words += ["--steps", *options.steps] if options.steps else []
    words += ["--maps", *options.maps] if options.maps else []
    words += ["--config", options.config.resolve()] if options.config else []
    if options.denoise is not None:
        words.append("--denoise" if options.denoise else "--no-denoise")
    pairs = [pair.partition("=") for pair in options.derivatives]
    words += ["--derivatives", *(f"{name}={Path(path).resolve()}" for name, _, path in pairs)] if pairs else []
    return words


def _teller(options, count):
    """Function that prints how a unit ended and how far all are."""
    began = time.monotonic()

    def tell(unit, outcome, numbers):
        for note in outcome.notes:
            print(f"{unit.name}: note: {note}", file=sys.stderr)
        if outcome.error:
            print(f"{unit.name}: failed: {outcome.error}", file=sys.stderr)
            if options.verbose:
                print(outcome.output, file=sys.stderr)
        else:
            lines = [line for line in outcome.output.splitlines() if line.startswith(f"{unit.name}: ")]
            print(next((line for line in reversed(lines) if line.endswith(" done")), f"{unit.name}: done"), flush=True)
        done, failed, running = numbers
        if (options.verbose or sys.stderr.isatty()) and done + failed < count:
            left = (time.monotonic() - began) / (done + failed) * (count - done - failed)
            ended = f"{done} of {count} done, {failed} failed, {running} running"
            print(f"{ended}, about {max(left / 60, 1):.0f} min left", file=sys.stderr, flush=True)

    return tell


def _one(options, unit, settings, derivatives, made_of):
    """Run one unit in this process; True when it is done. A failure is one sentence and harms no other subject."""
    from .runner.unit import forget, mark_done

    name = unit.name
    show = progress_of(name) if options.verbose or sys.stderr.isatty() else None
    try:
        if options.steps == ONLY_REPORT:
            result = _report_again(options, unit, settings, derivatives)
        else:
            forget(options.output_dir, unit)
            result = _made(options, unit, settings, derivatives, show)
            mark_done(options.output_dir, unit, made_of)
    except Exception as error:
        print(f"{name}: failed: {sentence(error)}", file=sys.stderr)
        if options.verbose:
            traceback.print_exc()
        return False
    for note in result.notes:
        print(f"{name}: note: {note}", file=sys.stderr)
    print(f"{name}: {_what(options, result)} done")
    return True


def _what(options, result):
    """What was made, in words."""
    if options.steps is None or "estimate" in options.steps:
        return ", ".join(result.maps)
    return ", ".join(step for step in STEPS if step in {*options.steps, *ONLY_REPORT})


def _made(options, unit, settings, derivatives, show):
    """Estimate of a unit, with the files written: from the scans, or from the maps of an earlier run."""
    from .participant import run_participant
    from .participant_again import run_again

    places = options.bids_dir, options.output_dir, unit.subject, unit.session, settings
    after = _after(options, settings, derivatives)
    with_what = {"maps": options.maps, "derivatives": derivatives, "progress": show}
    if options.steps is None or "estimate" in options.steps:
        return run_participant(*places, after=after, **with_what)
    return run_again(*places, after, **with_what)


def _report_again(options, unit, settings, derivatives):
    from QMRILesionStagingLib.participant_stage import sections_on_disk

    from .participant_again import report_again

    return report_again(
        options.bids_dir,
        options.output_dir,
        unit.subject,
        unit.session,
        derivatives=derivatives,
        sections_of=lambda folder, estimate: sections_on_disk(folder, estimate, settings),
    )


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


def _after(options, settings, derivatives):
    """What is done with the maps of a session; None where only they were asked for."""
    from QMRILesionStagingLib.participant_stage import stage_session

    from .participant_template import to_template

    steps, explicit = options.steps or STEPS, options.steps is not None
    staged = tuple(step for step in ("stage", "regions") if step in steps)
    if not (staged or "template" in steps):
        return None

    def after(folder, estimate, progress, cancelled):
        sections, notes = (), ()
        if staged:
            sections, notes = stage_session(folder, estimate, settings, staged, explicit, progress, cancelled)
        if "template" in steps:
            places = settings, options.bids_dir, derivatives
            notes = (*notes, *to_template(folder, estimate, *places, explicit, cancelled))
        return sections, notes

    return after


def _derivatives(pairs):
    """NAME=PATH words as a dictionary; None when none is given."""
    folders = {}
    for pair in pairs:
        name, mark, path = pair.partition("=")
        if not mark or not Path(path).is_dir():
            raise InputError(f"--derivatives {pair}: expected NAME=PATH with an existing folder; correct the path.")
        folders[name] = Path(path)
    return folders or None


def _group(options):
    from QMRILesionStagingLib.cohort import group

    group(options.output_dir, options.bids_dir, controls=options.controls)
    print(f"Open {options.output_dir / 'index.html'}")
    return DONE
