"""Pieces of work on several threads."""

import time

import numpy as np
import pytest
from QMRIEstimationLib.errors import Cancelled
from QMRIEstimationLib.threads import in_pieces


@pytest.mark.parametrize("count", [0, 1, 256, 257, 258, 5000])
@pytest.mark.parametrize("number", [1, 2, 5])
def test_every_item_is_done_once(count, number, threads):
    threads(number)
    done = np.zeros(count, int)

    def work(first, last):
        done[first:last] += 1

    in_pieces(work, count)
    assert (done == 1).all()


@pytest.mark.parametrize("number", [1, 2])
def test_progress_ends_at_one_and_names_the_work(number, threads):
    threads(number)
    heard = []
    in_pieces(lambda first, last: None, 1000, 100, lambda *said: heard.append(said), text="R1")
    assert heard == [(pytest.approx((n + 1) / 10), "R1") for n in range(10)]


@pytest.mark.parametrize("number", [1, 2])
def test_cancelling_leaves_pieces_undone(number, threads):
    threads(number)
    begun = []

    def work(first, last):
        begun.append(first)
        time.sleep(0.01)

    with pytest.raises(Cancelled):
        in_pieces(work, 200, 1, cancelled=lambda: len(begun) > 4)
    assert len(begun) < 20


@pytest.mark.parametrize("number", [1, 2])
def test_an_error_in_a_piece_reaches_the_caller(number, threads):
    threads(number)

    def work(first, last):
        if first == 3:
            raise ValueError("piece 3")

    with pytest.raises(ValueError, match="piece 3"):
        in_pieces(work, 10, 1)
