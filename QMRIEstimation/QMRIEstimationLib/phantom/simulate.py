"""A raw BIDS data set of digital MS patients, with what a rater would draw and what is true."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..errors import InputError, check_cancelled
from ..geometry import Geometry
from ..io.text import write_text
from .anatomy import Patient, fine_geometry, model_matrix, seeded_head
from .coils import CoilFields
from .examination import examination
from .field import patient_fields
from .labelmap import LabelledHead
from .lesion_painting import add_lesions
from .options import PatientOptions
from .render import add_noise, render, through_coil
from .tissue import INDEX, tissue_table
from .truth import block_mean, draw, write_magnitude, write_rater, write_truth
from .vessels import paint_tube, vein_courses
from .write import write_description, write_participants, write_scan_image

SMALLEST_SIZE = 16  # voxels along an axis; below, no head can be recognised
MOST_SUB_VOXELS = 4e8  # about 12 GB


def simulate(
    bids_dir,
    *,
    subjects=1,
    seed=0,
    size=(160, 192, 144),
    voxel_size=(1.0, 1.0, 1.0),
    options=PatientOptions(),
    labels=None,
    progress=None,
    cancelled=None,
):
    """Write a raw BIDS data set of digital MS patients, `derivatives/rater` and `sourcedata/truth`.

    Args:
        bids_dir: folder that does not exist or is empty.
        subjects: how many; `sub-01` and on, each with a head and lesions of its own.
        seed: the same seed gives the same bytes.
        size, voxel_size: number of voxels and their sides (mm) along i, j, k, as (x, y, z).
        labels: NIfTI with a JSON of names beside it, whose anatomy is used instead of a made-up brain.
    Raises:
        InputError: the folder holds files, a number is out of range, or the label map cannot be used.
        Cancelled: `cancelled` said so; finished subjects stay, and nothing half-made.
    """
    bids_dir = Path(bids_dir)
    _check(bids_dir, subjects, seed, size, voxel_size)
    bids_dir.mkdir(parents=True, exist_ok=True)
    names = [f"sub-{n + 1:02d}" for n in range(subjects)]
    report = progress or (lambda fraction, text: None)
    raw_name = "Digital multiple sclerosis patients"
    links = {"SourceDatasets": [{"URL": "../.."}]}
    write_description(bids_dir, raw_name, "raw")
    write_description(bids_dir / "derivatives" / "rater", f"{raw_name}: what a rater draws", "derivative", **links)
    truth = bids_dir / "sourcedata" / "truth"
    write_description(truth, f"{raw_name}: what is true", "derivative", **links)
    write_participants(bids_dir, names)
    write_text(truth / ".bidsignore", "*_stats.tsv\n")
    for n, name in enumerate(names):
        streams = np.random.SeedSequence([seed, n])

        def step(fraction, text, n=n):
            check_cancelled(cancelled)
            report((n + fraction) / subjects, text)

        with TemporaryDirectory(prefix=".unfinished-", dir=bids_dir) as temporary:
            folder = Path(temporary)
            _simulate_subject(folder, name, streams, size, voxel_size, options, labels, step)
            for part in ("derivatives/rater", "sourcedata/truth", "."):
                target = bids_dir / part / name
                target.parent.mkdir(parents=True, exist_ok=True)
                (folder / part / name).rename(target)
    report(1.0, "done")


def _check(bids_dir, subjects, seed, size, voxel_size):
    if bids_dir.exists() and (not bids_dir.is_dir() or any(bids_dir.iterdir())):
        raise InputError(f"{bids_dir}: is not an empty folder, nothing was written; give a new folder, or empty it.")
    if subjects < 1 or seed < 0:
        raise InputError(f"--subjects {subjects} --seed {seed}: expected at least 1 and 0; correct the numbers.")
    if len(size) != 3 or min(size) < SMALLEST_SIZE or 8 * np.prod([int(n) for n in size]) > MOST_SUB_VOXELS:
        raise InputError(
            f"--size {' '.join(str(n) for n in size)}: expected three whole numbers of at least {SMALLEST_SIZE} "
            f"and at most {MOST_SUB_VOXELS / 8:.0f} voxels in all; correct them."
        )
    if len(voxel_size) != 3 or not all(0.2 <= side <= 6 for side in voxel_size):
        raise InputError(
            f"--voxel-size {' '.join(f'{s:g}' for s in voxel_size)}: expected three numbers from 0.2 to 6 mm; "
            "correct them."
        )


@dataclass(frozen=True, eq=False)
class _Scanner:
    """What all scans of one examination share."""

    patient: Patient
    field: np.ndarray
    coils: CoilFields
    straight: Geometry


def make_patient(size, voxel_size, options, streams, labels=None, check=None):
    """A digital patient on the grid of the reference scan.

    Args:
        size, voxel_size: along i, j, k. streams: SeedSequence. labels: as in `simulate`.
        check: called now and then; may raise to stop.
    """
    shape_rng, vein_rng, lesion_rng = (np.random.default_rng(s) for s in streams.spawn(3))
    geometry = _grid(size, voxel_size, options.obliquity)
    straight = _grid(size, voxel_size, 0.0)
    fine = fine_geometry(geometry)
    head = seeded_head(shape_rng) if labels is None else LabelledHead(labels, shape_rng)
    model = model_matrix(straight, shape_rng)
    classes, texture = head.paint(fine.shape, model @ fine.ijk_to_ras, check)
    table = tissue_table(options.field_strength, shape_rng)
    patient = Patient(geometry, fine, classes, texture, table, model, head, options.field_strength)
    to_ras = np.linalg.inv(model)
    scale = float(np.cbrt(np.linalg.det(to_ras[:3, :3])))
    for radius, points in vein_courses(vein_rng):
        paint_tube(classes, fine, points @ to_ras[:3, :3].T + to_ras[:3, 3], scale * radius, INDEX["vein"])
    return add_lesions(patient, options.lesion_count, lesion_rng)


def _grid(size, voxel_size, obliquity):
    """Grid with its middle at the origin, turned by `obliquity` (rad) about the left-right axis."""
    cosine, sine = np.cos(obliquity), np.sin(obliquity)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]) * np.array(voxel_size, float)
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(size) - 1) / 2)
    return Geometry(tuple(int(n) for n in size[::-1]), matrix)


def _simulate_subject(folder, name, streams, size, voxel_size, options, labels, step):
    """Write one subject's raw data, rater's files and truth below `folder`."""
    step(0.0, f"{name}: anatomy")
    patient = make_patient(size, voxel_size, options, streams, labels, lambda: step(0.0, f"{name}: anatomy"))
    runs = examination(options)
    coil_rng, motion_rng, *noise_streams = (np.random.default_rng(s) for s in streams.spawn(2 + len(runs)))
    poses = _poses(runs, options, motion_rng)
    step(0.12, f"{name}: field")
    fields = patient_fields(patient, options.shim_residual, lambda: step(0.15, f"{name}: field"))
    coils = CoilFields(patient, options, coil_rng)
    total, local = block_mean(fields.total), block_mean(fields.local)
    step(0.25, f"{name}: truth")
    b1 = coils.b1(patient.geometry)
    drawing = draw(patient)
    write_rater(folder / "derivatives" / "rater", name, patient, drawing)
    write_truth(folder / "sourcedata" / "truth", name, patient, drawing, total, local, b1)
    scanner = _Scanner(patient, fields.total, coils, _grid(size, voxel_size, 0.0))
    del fields, local
    white = (drawing.tissue == 1) & (drawing.lesions == 0)
    noise_sd = None
    with ThreadPoolExecutor(1) as writer:  # files are packed while the next scan is computed
        pending = []
        for n, (run, rng) in enumerate(zip(runs, noise_streams, strict=True)):
            step(0.35 + 0.65 * n / len(runs), f"{name}: {run.title}")
            real, imag, geometry = _scan(run, scanner, poses[run.planned])
            if noise_sd is None:  # the reference scan comes first and sets the noise of all
                shortest = np.hypot(real[0], imag[0])
                write_magnitude(folder / "sourcedata" / "truth", name, shortest, geometry)
                noise_sd = float(shortest[white].mean(dtype=np.float64)) / options.snr
            add_noise(real, imag, noise_sd, rng)
            while len(pending) > 1:
                pending.pop(0).result()
            pending.append(writer.submit(_store, folder / name, name, run, real, imag, geometry))
            del real, imag
        for job in pending:
            job.result()


def _scan(run, scanner, pose):
    """Complex images of one run without noise, and their grid."""
    patient = scanner.patient
    geometry = patient.geometry if run.reference else scanner.straight
    to_object = np.linalg.inv(patient.fine.ijk_to_ras) @ pose @ fine_geometry(geometry).ijk_to_ras
    b1 = scanner.coils.b1(geometry)
    real, imag = render(
        patient,
        scanner.field,
        to_object,
        geometry,
        b1,
        run.table(patient),
        cycle_time=run.cycle_time,
        cycle_phase=run.cycle_phase,
        decay=run.decay(patient),
        decay_times=run.decay_times,
        phase_times=run.phase_times,
    )
    through_coil(real, imag, scanner.coils.receive(geometry, run.coil), scanner.coils.phase(geometry))
    return real, imag, geometry


def _poses(runs, options, rng):
    """Where the head lies in every scan of the protocol (4x4, mm) relative to the reference scan."""
    poses = {run.planned: np.eye(4) for run in runs}
    for run in runs:
        if options.motion and not run.reference and not run.repetition:
            poses[run.planned] = _rigid(rng, options.motion_size)
    return poses


def _rigid(rng, size):
    """Rigid motion (4x4, mm) with shifts of SD `size` mm and rotations of SD `size` degrees."""
    shift, angles = rng.normal(0, size, 3), np.deg2rad(rng.normal(0, size, 3))
    matrix = np.eye(4)
    for axis, angle in enumerate(angles):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(4)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    matrix[:3, 3] = shift
    return matrix


def _store(folder, name, run, real, imag, geometry):
    """Magnitude and phase of one run as files, one a echo."""
    for echo, (entities, sidecar) in enumerate(run.files(name)):
        magnitude = np.hypot(real[echo], imag[echo])
        phase = np.arctan2(imag[echo], real[echo]) if run.has_phase else None
        write_scan_image(folder, (entities, run.suffix), magnitude, phase, geometry, sidecar)
