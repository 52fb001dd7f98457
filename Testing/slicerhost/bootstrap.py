"""Put the host together: `scene()` for nodes only, `start()` for panels, `load_module()` as the module factory does."""

import importlib
import importlib.util
import os
import sys
import types
from pathlib import Path

OWN = Path(__file__).parent / "own"
_state = {"python_files": None, "app": None, "logic": None, "markups": None, "segmentations": None}


def python_files():
    """Folder of the Python files in use: that of `SLICERHOST_PYTHON_FILES` (Slicer's own), else the stand-ins."""
    return os.environ.get("SLICERHOST_PYTHON_FILES") or str(OWN)


def scene():
    """The `slicer` package with a real scene and the base classes that slicer-core lacks; imports no Qt.

    Slicer's own base classes import `qt` at the top, so with them the panel half is started as well.
    """
    import slicer

    if _state["python_files"] is None:
        folder = python_files()
        slicer.__path__.insert(0, folder)
        _state["python_files"] = folder
        slicer.mrmlScene = slicer.vtkMRMLScene()
        slicer.mrmlScene.SetUndoOff()
        crosshair = slicer.vtkMRMLCrosshairNode()  # the application always has one
        crosshair.SetCrosshairName("default")
        slicer.mrmlScene.AddNode(crosshair)
        _state["logic"] = slicer.vtkSlicerApplicationLogic()
        _state["logic"].SetMRMLScene(slicer.mrmlScene)
        markups = slicer.vtkSlicerMarkupsLogic()  # without it the views of the host draw no points
        markups.SetMRMLApplicationLogic(_state["logic"])
        markups.SetMRMLScene(slicer.mrmlScene)
        _state["logic"].SetModuleLogic("Markups", markups)
        _state["markups"] = markups  # the application logic does not keep it alive
        segmentations = slicer.vtkSlicerSegmentationsModuleLogic()
        segmentations.SetMRMLScene(slicer.mrmlScene)  # registers the representations of segments and their conversion
        _state["segmentations"] = segmentations
        _state["logic"].GetColorLogic().SetMRMLScene(slicer.mrmlScene)  # registers the nodes of the module Colors
        if folder != str(OWN):
            start()
    return slicer


def start():
    """`scene()` with `qt`, `ctk`, `slicer.app` and the MRML widgets on PySide6, drawn off screen.

    Returns:
        the `slicer` package, ready for `load_module`.
    """
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")  # there is no X server
    if _state["app"] is not None:
        return scene()
    from . import pythonqt

    qt = pythonqt.install()
    from . import app, ctk_widgets, mrml_widgets, uiloader

    ctk_widgets.install()
    qt.QUiLoader = uiloader.QUiLoader
    _state["app"] = app
    slicer = scene()
    for name, cls in {**mrml_widgets.widgets(), **mrml_widgets.only_from_python(), **app.classes()}.items():
        setattr(slicer, name, cls)
    slicer.app = app.qSlicerApplication(slicer.mrmlScene)
    for name in ("modules", "moduleNames"):
        module = types.ModuleType("slicer." + name)
        setattr(slicer, name, module)
        sys.modules["slicer." + name] = module
    sys.modules.setdefault("SampleData", _own_module("SampleData"))
    for name in ("util", "i18n", "packaging", "parameterNodeWrapper", "ScriptedLoadableModule"):
        setattr(slicer, name, importlib.import_module("slicer." + name))
    return slicer


def _own_module(name):
    """A stand-in that is a top-level module in Slicer."""
    spec = importlib.util.spec_from_file_location(name, OWN / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_module(path):
    """Load a scripted module's file as Slicer's module factory does; returns the host's module object."""
    slicer = start()
    path = Path(path).resolve()
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    python = importlib.import_module(name)
    module = _state["app"].qSlicerScriptedLoadableModule(name, str(path))
    instance = getattr(python, name)(module)
    slicer.app.moduleManager().add(module)
    setattr(slicer.modules, name.lower(), module)
    setattr(slicer.modules, name + "Instance", instance)
    setattr(slicer.moduleNames, name, name)
    return module


def complaints():
    """What went wrong in the panel since the last call, where Slicer itself would have printed it and gone on."""
    from . import pythonqt, uiloader

    found = [f"exception in a slot: {kind.__name__}: {value}" for kind, value, _ in pythonqt.slot_errors]
    found += [f"{Path(file).name}: {widget}: {text}" for file, widget, text in uiloader.problems]
    pythonqt.slot_errors.clear()
    uiloader.problems.clear()
    return found


def open_views():
    """The layout manager with real slice views, opened at the first call (else there is none, as without a window)."""
    from . import views

    return views.open_views(_state["logic"])


def close_views():
    """Back to no layout manager."""
    from . import views

    views.close_views(_state["logic"])


def grab_window(panel, path, width=1500, height=950, panel_width=560, fit=True):
    """Save a picture of a panel beside the views."""
    from . import views

    views.grab_window(panel, path, width, height, panel_width, fit)


def grab(widget, path, width):
    """Save a picture of a panel, `width` pixels wide and as high as it wants to be."""
    import slicer

    widget.resize(width, 10)
    widget.show()
    slicer.app.processEvents()
    widget.resize(width, widget.sizeHint().height())
    slicer.app.processEvents()
    if not widget.grab().save(str(path)):
        raise OSError(f"{path} could not be written.")
