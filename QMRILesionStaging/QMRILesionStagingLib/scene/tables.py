"""Table nodes as rows: dictionaries of numbers and texts, None where a value is missing."""

import slicer
import vtk


def rows_of(table):
    """Rows of a table node."""
    columns = [table.GetTable().GetColumn(n) for n in range(table.GetNumberOfColumns())]
    rows = []
    for n in range(table.GetNumberOfRows()):
        row = {}
        for column in columns:
            value = column.GetValue(n)
            row[column.GetName()] = None if value == "" or value != value else value  # noqa: PLR0124  # NaN
        rows.append(row)
    return rows


def fill_table(node, rows, empty=("lesion",)):
    """Replace what a table node holds; numbers become numeric columns, what is missing NaN there and empty in text.

    Args:
        rows: dictionaries with equal keys. empty: columns of a table without rows.
    """
    table = vtk.vtkTable()
    for name in rows[0] if rows else empty:
        values = [row[name] for row in rows]
        known = [value for value in values if value is not None]
        if known and all(isinstance(value, (int, float)) for value in known):
            array = vtk.vtkDoubleArray()
            values = [float("nan") if value is None else float(value) for value in values]
        else:
            array = vtk.vtkStringArray()
            values = ["" if value is None else str(value) for value in values]
        array.SetName(name)
        for value in values:
            array.InsertNextValue(value)
        table.AddColumn(array)
    node.SetAndObserveTable(table)
    node.SetUseColumnTitleAsColumnHeader(True)


def new_table(nodes, key, attribute, columns):
    """The table `key` of a staging, made at its first use beside the other results and saved with the scene.

    Args:
        nodes: key -> node of a staging, to which it is added. attribute: name of the attribute that ties them.
        columns: names of its columns.
    """
    if key in nodes:
        return nodes[key]
    beside = nodes["table"]
    scene, folder = beside.GetScene(), beside.GetAttribute(attribute).rpartition("/")[0]
    node = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(f"{folder} {key}"))
    node.SetAttribute(attribute, f"{folder}/{key}")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(beside)
    hierarchy.CreateItem(hierarchy.GetItemParent(item) if item else hierarchy.GetSceneItemID(), node)
    fill_table(node, [], columns)
    nodes[key] = node
    return node
