"""Run in Slicer by .github/workflows/slicer.yml: opens both panels, runs both self-tests and prints a verdict line."""

import sys
import traceback

import slicer

MODULES = ("QMRIEstimation", "QMRILesionStaging")


def main():
    """Whether everything passed; exceptions that Slicer only prints count as failures."""
    printed = []
    previous = sys.excepthook

    def hook(kind, value, trace):
        printed.append(f"{kind.__name__}: {value}")
        previous(kind, value, trace)

    sys.excepthook = hook
    try:
        for name in MODULES:
            slicer.util.selectModule(name)
            slicer.app.processEvents()
            slicer.selfTests[name]()
    except Exception:  # the verdict must be printed whatever happens
        printed.append(traceback.format_exc())
    for text in printed:
        print(text)
    return not printed


if __name__ == "__main__":
    passed = main()
    print("VERDICT: passed" if passed else "VERDICT: failed", flush=True)
    slicer.util.exit(slicer.util.EXIT_SUCCESS if passed else slicer.util.EXIT_FAILURE)
