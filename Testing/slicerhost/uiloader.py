"""`qt.QUiLoader` that knows the ctk and qMRML classes: their properties and the connections are applied here."""

import xml.etree.ElementTree as ET

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import ctk_widgets, mrml_widgets

problems = []  # (file, widget, text): a class, property, signal or slot that does not exist

_READERS = {
    "bool": lambda element: element.text.strip() == "true",
    "number": lambda element: int(element.text),
    "double": lambda element: float(element.text),
    "string": lambda element: element.text or "",
    "set": lambda element: 1,  # which flags does not matter to a stand-in
    "stringlist": lambda element: [item.text or "" for item in element.findall("string")],
}


def _is_stand_in(name):
    return name.startswith(("ctk", "qMRML", "qSlicer"))


def _find_class(name):
    return vars(ctk_widgets).get(name) or mrml_widgets.widgets().get(name)


class QUiLoader(QtUiTools.QUiLoader):
    """Qt's loader does all that Qt knows; what remains for the stand-ins is set as Python attributes."""

    def createWidget(self, name, parent=None, objectName=""):
        if not _is_stand_in(name):
            return super().createWidget(name, parent, objectName)
        cls = _find_class(name)
        if cls is None:
            problems.append(("", objectName, f"the host has no class {name}"))
        widget = (cls or QtWidgets.QWidget)(parent)
        widget.setObjectName(objectName)
        return widget

    def load(self, source, parent=None):
        path, root = source.fileName(), ET.fromstring(bytes(source.readAll().data()))
        properties = _take_properties(root)
        connections = _take_connections(root)
        buffer = QtCore.QBuffer()
        buffer.setData(ET.tostring(root))
        buffer.open(QtCore.QIODevice.ReadOnly)
        top = super().load(buffer, parent)
        named = {w.name: w for w in (top, *top.findChildren(QtCore.QObject)) if w.name}
        for widget, name, element in properties:
            _try(path, widget, f"property {name}", _set_property, named, widget, name, element)
        for sender, signal, receiver, slot in connections:
            _try(path, sender, f"{signal} to {receiver}.{slot}", _link, named, sender, signal, receiver, slot)
        return top


def _take_properties(root):
    """Take from the tree the properties that QWidget does not have; dynamic ones stay with Qt's loader."""
    taken = []
    for element in root.iter("widget"):
        known = getattr(QtWidgets, element.get("class"), QtWidgets.QWidget).staticMetaObject
        for prop in element.findall("property"):
            if prop.get("stdset") != "0" and known.indexOfProperty(prop.get("name")) < 0:
                element.remove(prop)
                taken.append((element.get("name"), prop.get("name"), prop[0]))
    return taken


def _take_connections(root):
    connections = root.find("connections")
    if connections is None:
        return []
    root.remove(connections)
    return [tuple(c.findtext(key) for key in ("sender", "signal", "receiver", "slot")) for c in connections]


def _set_property(named, widget, name, element):
    setattr(named[widget], name, _READERS[element.tag](element))


def _link(named, sender, signal, receiver, slot):
    named[sender].connect(signal, getattr(named[receiver], slot.partition("(")[0]))


def _try(path, widget, what, function, *args):
    """Slicer prints such a fault and goes on; here it is kept for `complaints`."""
    try:
        function(*args)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        problems.append((path, widget, f"{what}: {error}"))
