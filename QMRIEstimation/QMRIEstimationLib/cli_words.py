"""What the commands share: exit status, common options, numbers from words, progress in lines."""

import argparse
import os
import sys

DONE, SOME_FAILED, WRONG_CALL = 0, 1, 2


def add_common(parser):
    parser.add_argument("--threads", type=threads, metavar="N", help="processor cores to use; default all")
    parser.add_argument("-v", "--verbose", action="store_true", help="show progress and, for failures, the traceback")


def count(text):
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"is {text}, expected a whole number from 1")
    return number


def threads(text):
    return min(count(text), os.cpu_count())


def gigabytes(text):
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.1 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"is {text}, expected gigabytes from 0.1")
    return number


def progress_of(name):
    last = []

    def show(fraction, text):
        if last != [text]:
            last[:] = [text]
            print(f"{name}: {100 * fraction:3.0f} % {text}", file=sys.stderr, flush=True)

    return show
