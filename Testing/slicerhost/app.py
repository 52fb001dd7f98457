"""`slicer.app` and what hangs from it, as far as a module panel needs it; there is no main window."""

import sys
import tempfile

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Signal

from .mrml_widgets import qMRMLWidget


def classes():
    """Name -> class of what this file publishes on `slicer`."""
    kinds = (qSlicerApplication, qSlicerScriptedLoadableModule, qSlicerScriptedLoadableModuleWidget)
    return {cls.__name__: cls for cls in kinds}


class qSlicerModuleManager(QtCore.QObject):
    """The loaded modules by name."""

    moduleLoaded = Signal(str)
    moduleAboutToBeUnloaded = Signal(str)
    SIGNALS = {"moduleLoaded": ["QString"], "moduleAboutToBeUnloaded": ["QString"]}  # noqa: RUF012  # read only

    def __init__(self):
        super().__init__()
        self._modules = {}

    def add(self, module):
        self._modules[module.name] = module
        self.moduleLoaded.emit(module.name)

    def module(self, name):
        return self._modules.get(name)

    def modulesNames(self):
        return tuple(self._modules)


class qSlicerScriptedLoadableModule(QtCore.QObject):
    """A module as the Python module class gets it in `parent`; the names below are all that it may set."""

    SIGNALS = {}  # noqa: RUF012  # read only
    WRITABLE = ("title", "categories", "dependencies", "contributors", "helpText", "acknowledgementText", "icon")

    def __init__(self, name, path):
        super().__init__()
        self.setObjectName(name)
        self._path, self._panel = path, None

    path = property(lambda self: self._path)

    def widgetRepresentation(self):
        """The panel, made and set up at first use as when the user opens the module."""
        if self._panel is None:
            self._panel = qSlicerScriptedLoadableModuleWidget(self)
            self._panel.setup()
        return self._panel


def _kept(name):
    key = "_kept_" + name
    return property(lambda self: self.__dict__.get(key), lambda self, value: self.__dict__.__setitem__(key, value))


for _name in qSlicerScriptedLoadableModule.WRITABLE:
    setattr(qSlicerScriptedLoadableModule, _name, _kept(_name))


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The panel that a module's Widget class gets in `parent`."""

    def __init__(self, module):
        super().__init__()
        self._entered, self._name = False, module.name
        QtWidgets.QVBoxLayout(self)
        self._make_python()

    def _make_python(self):
        import slicer

        self._python = getattr(sys.modules[self._name], self._name + "Widget")(self)
        setattr(slicer.modules, self._name + "Widget", self._python)

    def reload(self):
        """A new instance of the Widget class, of the module's file as it is now."""
        self._make_python()
        self.setup()

    isEntered = property(lambda self: self._entered)

    def self(self):
        """The instance of the module's Widget class."""
        return self._python

    def setup(self):
        import slicer

        self._python.setup()
        self.setMRMLScene(slicer.mrmlScene)

    def enter(self):
        self._entered = True
        self._python.enter()

    def exit(self):
        self._entered = False
        self._python.exit()


class qSlicerApplication(QtWidgets.QApplication):
    """The application as `--testing` shows it: message boxes answer themselves; views only where they were opened."""

    startupCompleted = Signal()
    SIGNALS = {"startupCompleted": [""]}  # noqa: RUF012  # read only

    def __init__(self, scene):
        super().__init__(["slicerhost"])
        self.setStyle("Fusion")  # the same picture on every machine
        self._folder = tempfile.TemporaryDirectory(prefix="slicerhost-")
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, self._folder.name)
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
        self.setOrganizationName("slicerhost")
        self.setApplicationName("slicerhost")
        self._scene, self._modules, self._layout_manager = scene, qSlicerModuleManager(), None

    def mrmlScene(self):
        return self._scene

    def moduleManager(self):
        return self._modules

    def layoutManager(self):
        return self._layout_manager

    def testingEnabled(self):
        return True

    def translate(self, context, text):
        return text

    def userSettings(self):
        return QtCore.QSettings()

    def moduleDocumentationUrl(self, name):
        return "https://slicer.readthedocs.io/" + name

    documentationBaseUrl = property(lambda self: "https://slicer.readthedocs.io/")
    temporaryPath = property(lambda self: self._folder.name)
