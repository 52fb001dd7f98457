"""A test host that runs Slicer scripted modules without the application.

`scene()` gives the real MRML scene of slicer-core, with no Qt. `start()` adds a PySide6 stand-in for `qt`, `ctk` and
the MRML widgets, so that the real panel class and its real .ui file run. The stand-ins show only what PythonQt would
show in Slicer: anything else is an error, and `complaints()` lists what Slicer would only have printed.
"""

from .bootstrap import close_views, complaints, grab, grab_window, load_module, open_views, scene, start

__all__ = ["close_views", "complaints", "grab", "grab_window", "load_module", "open_views", "scene", "start"]
