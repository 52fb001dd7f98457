"""Nodes that are added to the scene or brought up to date: all of them, or after a failure none."""

from contextlib import contextmanager

import slicer


@contextmanager
def all_or_nothing(scene):
    """A Made whose changes stay in the scene when the block ends well and are taken back otherwise."""
    made = Made(scene)
    scene.StartState(scene.BatchProcessState)
    try:
        yield made
    except BaseException:
        made.take_back()
        raise
    finally:
        scene.EndState(scene.BatchProcessState)


class Made:
    """What was added to the scene or changed in it, so that it can be taken back."""

    def __init__(self, scene):
        self.scene, self.nodes, self.folders, self.changed = scene, [], [], []
        self.hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)

    def folder(self, name, parent=None):
        """A new folder of the subject hierarchy."""
        item = self.hierarchy.CreateFolderItem(parent or self.hierarchy.GetSceneItemID(), name)
        self.folders.append(item)
        return item

    def volume(self, name, values, geometry, folder, kind="vtkMRMLScalarVolumeNode"):
        """A new volume with its own display, in a folder."""
        # The application adds nodes to the hierarchy by itself, slicer-core does not; CreateItem serves both.
        node = self.put(kind, name, folder)
        self._fill(node, values, geometry)
        node.CreateDefaultDisplayNodes()
        self.nodes.append(node.GetDisplayNode())
        return node

    def refill(self, node, values, geometry):
        """Other values, and perhaps another grid, in a volume that is in the scene."""
        copy = slicer.vtkMRMLScalarVolumeNode()
        copy.CopyOrientation(node)
        names = {name: node.GetAttribute(name) for name in node.GetAttributeNames()}
        self.changed.append((node, node.GetImageData(), copy, names))
        node.SetAndObserveImageData(None)
        self._fill(node, values, geometry)

    def put(self, kind, name, folder):
        """A node of the class in a folder of the subject hierarchy."""
        node = self.node(kind, name)
        self.hierarchy.CreateItem(folder, node)
        return node

    def node(self, kind, name):
        """A node of the class under a name that no other has."""
        node = self.scene.AddNewNodeByClass(kind, self.scene.GenerateUniqueName(name))
        self.nodes.append(node)
        return node

    def take_back(self):
        """Everything as it was before."""
        for item in self.folders:
            self.hierarchy.RemoveItem(item, False)  # with the items in it, not with their nodes
        for node in reversed(self.nodes):
            self.scene.RemoveNode(node)
        for node, image, orientation, attributes in reversed(self.changed):
            node.SetAndObserveImageData(image)
            node.CopyOrientation(orientation)
            for name in {*node.GetAttributeNames(), *attributes}:
                node.SetAttribute(name, attributes.get(name))

    @staticmethod
    def _fill(node, values, geometry):
        slicer.util.updateVolumeFromArray(node, values)
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(geometry.ijk_to_ras))
