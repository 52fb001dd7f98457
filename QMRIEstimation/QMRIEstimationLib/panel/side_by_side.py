"""A layout of its own for the maps, side by side; the user's layout comes back unchanged."""

import slicer

LAYOUT = 21071  # any number that no other module uses
NAMES = ("QMRI1", "QMRI2", "QMRI3", "QMRI4", "QMRI5")
VIEW = (
    '<item><view class="vtkMRMLSliceNode" singletontag="{name}"><property name="orientation" action="default">Axial'
    '</property><property name="viewlabel" action="default">{label}</property><property name="viewcolor" '
    'action="default">#4D8963</property></view></item>'
)


class SideBySide:
    """Shows up to five maps in views of their own, linked, so that none of the user's views is touched."""

    def __init__(self):
        self._before = None

    @property
    def shown(self):
        """Whether the maps are shown."""
        return self._before is not None

    def show(self, nodes):
        """Show volume nodes, title -> node."""
        manager = slicer.app.layoutManager()
        if manager is None or not nodes:
            return
        shown = dict(list(nodes.items())[: len(NAMES)])
        views = [VIEW.format(name=name, label=label) for name, label in zip(NAMES, shown, strict=False)]
        rows = [views] if len(views) < 4 else [views[:3], views[3:]]
        layout = manager.layoutLogic().GetLayoutNode()
        text = "".join(f'<item><layout type="horizontal">{"".join(row)}</layout></item>' for row in rows)
        text = f'<layout type="vertical">{text}</layout>'
        if layout.IsLayoutDescription(LAYOUT):
            layout.SetLayoutDescription(LAYOUT, text)
        else:
            layout.AddLayoutDescription(LAYOUT, text)
        if self._before is None:
            self._before = manager.layout
        manager.setLayout(LAYOUT)
        for name, node in zip(NAMES, shown.values(), strict=False):
            composite = manager.sliceWidget(name).mrmlSliceCompositeNode()
            composite.SetLinkedControl(True)
            composite.SetBackgroundVolumeID(node.GetID())
            composite.SetForegroundVolumeID(None)
            composite.SetLabelVolumeID(None)
            manager.sliceWidget(name).fitSliceToBackground()

    def restore(self):
        """The layout before."""
        manager = slicer.app.layoutManager()
        if manager is not None and self._before is not None:
            manager.setLayout(self._before)
        self._before = None
