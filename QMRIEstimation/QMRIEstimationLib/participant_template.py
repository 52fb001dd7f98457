"""The step "template" of one session: maps as concentrations and contents in the space that other programs found."""

import numpy as np

from .acquisition import Role
from .alignment import Place, registered
from .errors import InputError, check_cancelled
from .io.derivatives import prefix
from .io.nifti import relative_name
from .io.template_files import read_warp, template_warps, write_template_map
from .template import MAPS, in_template, template_space


def to_template(folder, estimate, settings, bids_dir, derivatives=None, explicit=False, cancelled=None):
    """Write the maps of a session in the space of a template, where a registration to one is among the derivatives.

    Args:
        folder: of the session. estimate: maps.Estimate. settings: settings.Settings.
        explicit: whether it was asked for; else what is missing is not even noted.
    Returns:
        sentences.
    Raises:
        InputError: it was asked for and cannot be done. Cancelled.
    """
    session = estimate.session
    maps = [estimate.maps[name] for name in MAPS if name in estimate.maps]
    warps = list(template_warps(bids_dir, session.subject, session.session, derivatives))
    try:
        transform = None
        while warps and transform is None:  # files without displacements are no registration to a template
            warp = warps.pop(0)
            transform, grid = read_warp(warp.path)
        if transform is None or not maps:
            if not explicit:
                return ()
            raise InputError(
                f"{prefix(session.subject, session.session)}: no nonlinear registration to a template was found, "
                "expected *_from-T1w_to-<template>_mode-image_xfm.h5 of sMRIPrep or ANTs in a derivative; add it, or "
                "leave out --steps template."
            )
        scan_to_maps = _scan_to_maps(estimate, settings) if warp.source == "T1w" else None
    except InputError as error:
        if explicit:
            raise
        return (f"{str(error).rstrip('.')}; nothing was brought to a template.",)
    space = template_space(warp.template, transform, grid, scan_to_maps)
    about = {"Transform": relative_name(warp.path, bids_dir)}
    for result in maps:
        check_cancelled(cancelled)
        fluid = estimate.figures.get("chi_ventricles_ppm") if result.name == "Chi" else None
        zero = {"ZeroOfContent": fluid or 0.0} if result.name == "Chi" else {}
        arrays = in_template(result, space, fluid or 0.0)
        write_template_map(folder, session, space, result, arrays, about | zero)
    if not warps:
        return ()
    names = ", ".join(other.path.name for other in warps)
    return (f"{warp.path.name}: was taken for the way to a template, not {names}.",)


def _scan_to_maps(estimate, settings):
    """4x4 from RAS of the T1-weighted scan to RAS of the maps.

    Raises:
        InputError: there is no such scan, or it cannot be aligned.
    """
    scans = estimate.session.of(Role.T1W)
    if not scans:
        raise InputError(
            f"{prefix(estimate.session.subject, estimate.session.session)}: the registration to the template starts "
            "at the T1-weighted scan, which is not among the raw data; add anat/*_T1w.nii.gz"
        )
    scan = scans[0]
    found = estimate.registrations.get(scan.name)
    if found is None:
        place = Place("the maps", estimate.magnitude, estimate.geometry, estimate.brain_mask)
        found = registered(scan.name, scan.read()[0][0], scan.geometry, place, settings.registration)
    return np.linalg.inv(found.ras_transform)
