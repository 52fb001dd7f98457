"""Stand-in for slicer.parameterNodeWrapper: the part that this project uses.

Types: bool, int, float, str, Enum, MRML node classes and unions of them with None. Annotation: WithinRange. Values are
kept in the vtkMRMLScriptedModuleNode. Qt is imported only when a panel is connected.
"""

import enum
import types
import typing
from dataclasses import dataclass

import slicer
import vtk

__all__ = ["WithinRange", "parameterNodeWrapper"]


@dataclass
class WithinRange:
    """A number must lie between both limits."""

    minimum: float
    maximum: float

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is not within [{self.minimum}, {self.maximum}]")


class _Parameter:
    """One annotated attribute of a wrapped class."""

    def __init__(self, name, hint, default):
        self.name = name
        annotated = typing.get_origin(hint) is typing.Annotated
        kind, *notes = typing.get_args(hint) if annotated else (hint,)
        self.range = next((note for note in notes if isinstance(note, WithinRange)), None)
        union = isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
        self.kinds = tuple(k for k in (typing.get_args(kind) if union else (kind,)) if k is not type(None))
        self.kind = self.kinds[0]
        self.is_node = issubclass(self.kind, slicer.vtkMRMLNode)
        self.is_enum = issubclass(self.kind, enum.Enum)
        if default is None and not self.is_node:
            default = next(iter(self.kind)) if self.is_enum else self.kind()
        self.default = default

    def write(self, node, value):
        if self.is_node:
            if value is not None and not isinstance(value, self.kinds):
                raise TypeError(f"{self.name}: {value!r} is none of {self.kinds}")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            return
        if not isinstance(value, (int, float) if self.kind is float else self.kind):
            raise TypeError(f"{self.name}: {value!r} is not of type {self.kind}")
        if self.range is not None:
            self.range.validate(value)
        node.SetParameter(self.name, value.name if self.is_enum else str(value))

    def read(self, node):
        if self.is_node:
            return node.GetNodeReference(self.name)
        if not node.HasParameter(self.name):
            self.write(node, self.default)
        text = node.GetParameter(self.name)
        if self.kind is bool:
            return text == "True"
        return self.kind[text] if self.is_enum else self.kind(text)


class _Wrapper:
    """What every wrapped class can do."""

    def __init__(self, parameterNode):
        self.parameterNode = parameterNode
        self._links, self._updating = {}, False
        for parameter in self.allParameters.values():
            parameter.read(parameterNode)

    def connectGui(self, gui):
        """Tie every widget whose dynamic property SlicerParameterName names a parameter; returns a tag."""
        links = []
        for widget in vars(gui).values():
            name = widget.property("SlicerParameterName")
            if name:
                if name not in self.allParameters:
                    raise ValueError(f"Cannot find a param with the given name: {name}")
                links.append(_Link(self, self.allParameters[name], widget))
        tag = self.AddObserver(vtk.vtkCommand.ModifiedEvent, self._update_gui)
        self._links[tag] = links
        return tag

    def disconnectGui(self, tag):
        for link in self._links.pop(tag, ()):
            link.signal.disconnect(link.to_node)
        if tag is not None:
            self.RemoveObserver(tag)

    def _update_gui(self, caller, event):
        if self._updating:
            return
        self._updating = True
        try:
            for links in self._links.values():
                for link in links:
                    link.to_widget()
        finally:
            self._updating = False

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)


class _Link:
    """One parameter tied to one widget, both ways."""

    def __init__(self, owner, parameter, widget):
        self.owner, self.parameter, self.widget = owner, parameter, widget
        self.get, self.set, signal = _connector(parameter, widget)
        self.to_widget()
        self.signal = getattr(widget, signal)
        self.signal.connect(self.to_node)

    def to_node(self):
        if not self.owner._updating:
            setattr(self.owner, self.parameter.name, self.get())

    def to_widget(self):
        value = getattr(self.owner, self.parameter.name)
        if self.get() != value:
            self.set(value)


def _connector(parameter, widget):
    """How to read and write a widget, and its signal of change."""
    import qt
    from slicer import qMRMLNodeComboBox

    def attribute(name):
        return lambda: getattr(widget, name), lambda value: setattr(widget, name, value)

    if isinstance(widget, qMRMLNodeComboBox) and parameter.is_node:
        return widget.currentNode, widget.setCurrentNode, "currentNodeChanged"
    if isinstance(widget, qt.QCheckBox) and parameter.kind is bool:
        return *attribute("checked"), "toggled"
    if isinstance(widget, qt.QLineEdit) and parameter.kind is str:
        return *attribute("text"), "textChanged"
    if isinstance(widget, qt.QComboBox) and parameter.is_enum:
        members = list(parameter.kind)
        widget.clear()
        widget.addItems([member.label() for member in members])
        return (
            lambda: members[widget.currentIndex],
            lambda value: setattr(widget, "currentIndex", members.index(value)),
            "currentIndexChanged",
        )
    if isinstance(widget, (qt.QSpinBox, qt.QDoubleSpinBox)) and parameter.kind in (int, float):
        if parameter.range is not None:
            widget.minimum, widget.maximum = parameter.range.minimum, parameter.range.maximum
        return *attribute("value"), "valueChanged"
    raise RuntimeError(f"Unable to connect '{parameter.name}' ({parameter.kinds}) to a {type(widget).__name__}")


def parameterNodeWrapper(cls):
    """Class decorator: annotated attributes become parameters of the wrapped vtkMRMLScriptedModuleNode."""
    hints = typing.get_type_hints(cls, include_extras=True)
    parameters = {name: _Parameter(name, hint, vars(cls).get(name)) for name, hint in hints.items()}
    body = {key: value for key, value in vars(cls).items() if key not in ("__dict__", "__weakref__")}
    for name, parameter in parameters.items():
        body[name] = property(
            lambda self, p=parameter: p.read(self.parameterNode),
            lambda self, value, p=parameter: p.write(self.parameterNode, value),
        )
    return type(cls.__name__, (_Wrapper,), {**body, "allParameters": parameters})
