"""The `qt` module: PySide6 with the conventions of PythonQt, the binding that Slicer embeds.

- Every Qt property is a Python attribute (`w.text`, `w.checked = True`); `name` is the object name.
- `obj.connect("clicked(bool)", f)`; an unknown signal is an error (PythonQt prints it and goes on).
- Setting an attribute that a C++ class does not have raises AttributeError (PySide would create it).
- Dynamic properties and children (by object name) can be read as attributes.
- Enums compare equal to integers.
- An exception raised in a slot is kept in `slot_errors` (PythonQt prints it and goes on).
"""

import ctypes
import math
import os
import sys
import types

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["PYSIDE6_OPTION_PYTHON_ENUM"] = "2"
os.environ.setdefault("QT_LOGGING_RULES", "qt.pyside.libpyside.warning=false;qt.qpa.*=false")

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets  # reads the variables above

slot_errors = []  # (type, value, traceback)

_MODULES = (QtCore, QtGui, QtWidgets, QtUiTools)
_QObject = QtCore.QObject
_property, _set_property = _QObject.property, _QObject.setProperty
_connect, _disconnect = _QObject.connect, _QObject.disconnect
_find_child, _find_children = _QObject.findChild, _QObject.findChildren
_children, _object_name = _QObject.children, _QObject.objectName
_getattribute = _QObject.__getattribute__

# A Python property of the name of a virtual getter would be taken for an override of it.
_VIRTUAL_GETTERS = {"sizeHint", "minimumSizeHint"}
_PYTHON_TYPES = {"bool": bool, "int": int, "double": float, "QString": str}  # of a signal's C++ argument


def install():
    """Patch PySide6's classes, publish the result as module `qt`, collect exceptions of slots; returns the module."""
    _make_none_last()
    qt = types.ModuleType("qt", "PySide6 with PythonQt's conventions")
    for module in _MODULES:
        vars(qt).update({name: getattr(module, name) for name in dir(module) if not name.startswith("_")})
    for cls in [c for c in vars(qt).values() if isinstance(c, type) and issubclass(c, _QObject)]:
        _publish_properties(cls)
    _QObject.name = _qt_property("objectName", True)
    _QObject.connect, _QObject.disconnect = connect, disconnect
    _QObject.findChild, _QObject.findChildren = find_child, find_children
    _QObject.className = lambda self: type(self).__name__
    _QObject.__getattribute__ = _served_by_host
    _QObject.__getattr__ = _property_or_child
    sys.modules["qt"] = qt
    previous = sys.excepthook

    def hook(kind, value, traceback):
        slot_errors.append((kind, value, traceback))
        previous(kind, value, traceback)

    sys.excepthook = hook
    return qt


def _make_none_last():
    """Let None outlive PySide6 6.12, which gives one reference to it too many back with every call that returns None.

    From Python 3.12 on None is immortal; before, the interpreter ends with "deallocating None" after some ten thousand
    calls.
    """
    if sys.version_info < (3, 12):
        ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40


def connect(self, signal, *args):
    """PythonQt's `connect(signature, callable)` and `connect(signature, receiver, slot)`."""
    if not isinstance(signal, str):  # the static form, which PySide itself uses
        return _connect(signal, *args) if isinstance(signal, _QObject) else _connect(self, signal, *args)
    if len(args) >= 2:
        args = (getattr(args[0], args[1].partition("(")[0]),)
    bound = _host_signal(self, signal)
    if bound is not None:
        bound.connect(args[0])
        return True
    return bool(_connect(self, "2" + _checked_signature(self, signal), args[0]))


def disconnect(self, signal, *args):
    """PythonQt's `disconnect(signature, callable)`."""
    if not isinstance(signal, str):
        return _disconnect(self, signal, *args)
    bound = _host_signal(self, signal)
    if bound is not None:
        return bound.disconnect(*args)
    return _disconnect(self, "2" + _checked_signature(self, signal), *args)


def find_child(self, kind, *name):
    """`findChild` with the class or its name."""
    return _find_child(self, _class_named(kind), *name)


def find_children(self, kind, *name):
    """`findChildren` with the class or its name; a tuple, as PythonQt gives."""
    return tuple(_find_children(self, _class_named(kind), *name))


def _publish_properties(cls):
    """Show the Qt properties of one PySide class as Python attributes, and no others."""
    cls.__setattr__ = _strict_setattr  # PySide gives every class a tp_setattro of its own
    meta = cls.staticMetaObject
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        prop = meta.property(index)
        if prop.name() in _VIRTUAL_GETTERS or (cls is QtCore.QTimer and prop.name() == "singleShot"):
            continue
        setattr(cls, prop.name(), _qt_property(prop.name(), prop.isWritable()))


def _qt_property(name, writable):
    """A Python property over a Qt property; values convert as freely as in PythonQt."""

    def read(self):
        value = _property(self, name)
        return tuple(value) if isinstance(value, list) else value  # PythonQt hands lists out as tuples

    def write(self, value):
        if not writable:
            raise AttributeError(f"Property '{name}' of {type(self).__name__} object is not writable")
        now = _property(self, name)
        if isinstance(value, tuple):
            value = list(value)
        if isinstance(now, bool):
            value = bool(value)
        elif isinstance(now, str) and not isinstance(value, str):
            value = str(value)
        elif type(now) is int and isinstance(value, float):
            value = math.floor(value)
        if not _set_property(self, name, value):
            raise AttributeError(f"Property '{name}' of {type(self).__name__} does not accept {value!r}")

    return property(read, write)


def _strict_setattr(self, name, value):
    attribute = next((vars(c)[name] for c in type(self).__mro__ if name in vars(c)), None)
    if hasattr(attribute, "__set__"):
        attribute.__set__(self, value)
    elif isinstance(value, QtCore.SignalInstance):  # PySide keeps a bound signal this way
        self.__dict__[name] = value
    elif isinstance(value, _QObject) and _object_name(value) == name:
        return  # PySide's loader of .ui files sets children so; `_property_or_child` finds them
    elif not name.startswith("_") and type(self).__module__.startswith(("PySide6", "slicerhost")):
        if attribute is not None or _property(self, name) is None:
            raise AttributeError(f"'{name}' can not be set on {type(self).__name__}: it is no Qt property of it")
        _set_property(self, name, value)  # a dynamic property
    else:
        self.__dict__[name] = value


def _property_or_child(self, name):
    """What PythonQt looks up when a class has no such attribute."""
    if not name.startswith("__"):
        if name.endswith("_") and hasattr(type(self), name[:-1]):  # exec_, raise_
            return getattr(type(self), name[:-1]).__get__(self)
        value = _property(self, name)
        if value is not None:
            return value
        for child in _children(self):
            if _object_name(child) == name:
                return child
    raise AttributeError(f"{type(self).__name__} has no attribute named '{name}'")


def _served_by_host(self, name):
    # PySide serves connect and disconnect of an instance from C++, past the class attribute.
    if name == "connect":
        return types.MethodType(connect, self)
    if name == "disconnect":
        return types.MethodType(disconnect, self)
    return _getattribute(self, name)


def _host_signal(obj, signature):
    """The bound signal of a host class, declared in Python under the C++ signatures in SIGNALS; else None."""
    name, _, arguments = signature.replace(" ", "").rstrip(")").partition("(")
    overloads = [overload.replace(" ", "") for overload in getattr(type(obj), "SIGNALS", {}).get(name, ())]
    if arguments not in overloads:
        return None
    signal = getattr(obj, name)
    return signal[_PYTHON_TYPES.get(arguments, object)] if len(overloads) > 1 else signal


def _checked_signature(obj, signature):
    normalized = bytes(QtCore.QMetaObject.normalizedSignature(signature).data()).decode()
    if obj.metaObject().indexOfSignal(normalized) < 0:
        raise RuntimeError(f"QObject::connect() signal '{signature}' does not exist on {type(obj).__name__}")
    return normalized


def _class_named(kind):
    if isinstance(kind, str):
        for module in ("qt", "ctk", "slicer"):
            if isinstance(getattr(sys.modules.get(module), kind, None), type):
                return getattr(sys.modules[module], kind)
    return kind
