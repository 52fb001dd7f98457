"""Conjugate gradients against the direct solution."""

import numpy as np
import pytest
from QMRIEstimationLib.errors import Cancelled
from QMRIEstimationLib.qsm.conjugate_gradient import conjugate_gradient, inner


@pytest.fixture
def system(rng):
    """A well-conditioned symmetric matrix and a right side."""
    a = rng.normal(size=(60, 60)) / 8
    return (a @ a.T + np.eye(60)).astype(np.float32), rng.normal(size=60).astype(np.float32)


@pytest.mark.parametrize("start", [None, "some"])
def test_solution_is_that_of_the_direct_method(system, rng, start):
    matrix, right = system
    start = None if start is None else rng.normal(size=60).astype(np.float32)
    found = conjugate_gradient(lambda x: matrix @ x, right, 1e-5, 100, start)
    direct = np.linalg.solve(matrix.astype(float), right)
    assert found.converged and found.residual <= 1e-5
    np.testing.assert_allclose(found.x, direct, atol=1e-4)  # eigenvalues from 1: error below residual


def test_reaching_the_limit_is_said(system):
    matrix, right = system
    found = conjugate_gradient(lambda x: matrix @ x, right, 1e-6, 2)
    assert not found.converged and found.iterations == 2 and found.residual > 1e-6


def test_right_side_of_zero_is_solved_at_once(system):
    found = conjugate_gradient(lambda x: system[0] @ x, np.zeros(60, np.float32), 1e-6, 9)
    assert found.converged and found.iterations == 0 and not found.x.any()


def test_cancelling_stops_it(system):
    with pytest.raises(Cancelled):
        conjugate_gradient(lambda x: system[0] @ x, system[1], 1e-6, 9, cancelled=lambda: True)


def test_inner_product_keeps_double_precision(rng):
    a, b = (rng.normal(size=(7, 300, 500)).astype(np.float32) for _ in range(2))
    exact = (a.astype(float) * b).sum()
    assert abs(inner(a, b) - exact) < 1e-6 * np.sqrt((a.astype(float) ** 2).sum() * (b.astype(float) ** 2).sum())
