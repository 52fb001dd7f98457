"""The CMake files against the disk, without CMake: what is not listed is missing in the installed extension."""

import ast
import re
import xml.etree.ElementTree as ET

import pytest
from conftest import REPOSITORY
from PIL import Image

KEPT_BY_PANEL = {"QMRIEstimation": ["changes", "outputFolder"], "QMRILesionStaging": []}  # not bound by the wrapper
STANDARD = {"enum", "importlib", "logging", "os", "sys", "typing"}
MRML_WIDGETS = ("qMRMLNodeComboBox", "qMRMLSegmentSelectorWidget")
MODULES = ("QMRIEstimation", "QMRILesionStaging")
URL = "https://github.com/QuantitativeMRI/SlicerQuantitativeMRI"
RAW = "https://raw.githubusercontent.com/QuantitativeMRI/SlicerQuantitativeMRI/main/"


def listed(module, variable):
    """The files that a module's CMakeLists.txt gives for a variable."""
    text = (REPOSITORY / module / "CMakeLists.txt").read_text(encoding="utf-8")
    body = re.search(rf"^set\({variable}\n(.*?)^\s*\)", text, re.MULTILINE | re.DOTALL).group(1)
    return body.split()


def on_disk(module, folder, pattern):
    """Files of a module, relative to it, without what Python writes beside its sources."""
    root = REPOSITORY / module
    found = [path for path in (root / folder).rglob(pattern) if path.is_file() and "__pycache__" not in path.parts]
    return [path.relative_to(root).as_posix() for path in found]


def difference(module, variable, expected):
    """The exact lines to add to and to remove from a list; empty when it is complete."""
    given = listed(module, variable)
    lines = [f"add:    {name}" for name in sorted(set(expected) - set(given))]
    lines += [f"remove: {name}" for name in sorted(set(given) - set(expected))]
    lines += [f"once:   {name}" for name in sorted({name for name in given if given.count(name) > 1})]
    return f"{module}/CMakeLists.txt, {variable}:\n" + "\n".join(lines) if lines else ""


def metadata(name):
    """The value of a metadata line of the extension, which the Extensions Index reads line by line."""
    found = re.findall(rf'^set\({name} "([^"\n]*)"\)$', root_cmake(), re.MULTILINE)
    assert len(found) == 1, f'CMakeLists.txt: expected one line set({name} "...")'
    return found[0]


def root_cmake():
    return (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("module", MODULES)
def test_every_python_file_is_listed_and_every_listed_file_exists(module):
    expected = [f"{module}.py", *on_disk(module, f"{module}Lib", "*.py")]
    problem = difference(module, "MODULE_PYTHON_SCRIPTS", expected)
    assert not problem, problem


@pytest.mark.parametrize("module", MODULES)
def test_every_resource_is_listed_and_every_listed_resource_exists(module):
    data = set(on_disk(module, f"{module}Lib", "*")) - set(on_disk(module, f"{module}Lib", "*.py"))
    problem = difference(module, "MODULE_PYTHON_RESOURCES", [*on_disk(module, "Resources", "*"), *data])
    assert not problem, problem


@pytest.mark.parametrize("module", MODULES)
def test_a_module_folder_holds_no_python_file_that_slicer_would_take_for_a_module(module):
    assert [path.name for path in (REPOSITORY / module).glob("*.py")] == [f"{module}.py"]


def test_no_file_of_one_module_overwrites_one_of_the_other():
    """Slicer installs all scripted modules into one folder."""
    files = [listed(module, "MODULE_PYTHON_SCRIPTS") + listed(module, "MODULE_PYTHON_RESOURCES") for module in MODULES]
    assert not set(files[0]) & set(files[1])


@pytest.mark.parametrize("module", MODULES)
def test_every_module_is_built_and_tested(module):
    assert f"add_subdirectory({module})\n" in root_cmake()
    text = (REPOSITORY / module / "CMakeLists.txt").read_text(encoding="utf-8")
    assert f"set(MODULE_NAME {module})" in text
    assert "WITH_GENERIC_TESTS" in text and "slicer_add_python_unittest(SCRIPT ${MODULE_NAME}.py)" in text
    assert (REPOSITORY / module / "Testing" / "CMakeLists.txt").is_file()


def test_extension_metadata_is_what_the_extensions_index_asks_for():
    assert "\nproject(QuantitativeMRI)\n" in root_cmake()
    assert metadata("EXTENSION_HOMEPAGE") == URL
    assert metadata("EXTENSION_CATEGORY") in ("Quantification", "Neuroimaging")
    assert metadata("EXTENSION_CONTRIBUTORS") and metadata("EXTENSION_DEPENDS") == "NA"
    assert metadata("EXTENSION_DESCRIPTION").count(". ") <= 1, "expected one or two sentences"
    for field in ("EXTENSION_LICENSE_FILE", "EXTENSION_README_FILE"):
        name = metadata(field).removeprefix("${CMAKE_CURRENT_SOURCE_DIR}/")
        assert (REPOSITORY / name).is_file(), f"{field}: {name} is missing"
    assert "\n## NEXT_MODULE\n" in root_cmake()


@pytest.mark.parametrize("field", ["EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"])
def test_pictures_of_the_metadata_are_png_files_of_this_repository(field):
    urls = metadata(field).split(" ")
    for url in urls:
        assert url.startswith(RAW), url
        with Image.open(REPOSITORY / url.removeprefix(RAW)) as picture:
            assert picture.format == "PNG"
            if field == "EXTENSION_ICONURL":
                assert picture.size == (128, 128)


@pytest.mark.parametrize("module", MODULES)
def test_every_bound_widget_names_a_parameter_and_every_parameter_has_a_widget(module):
    tree = ET.parse(REPOSITORY / module / "Resources" / "UI" / f"{module}.ui")
    bound = [p.findtext("string") for p in tree.iter("property") if p.get("name") == "SlicerParameterName"]
    source = ast.parse((REPOSITORY / module / f"{module}.py").read_text(encoding="utf-8"))
    wrapped = next(c for c in source.body if isinstance(c, ast.ClassDef) and c.name == f"{module}ParameterNode")
    assert sorted([*bound, *KEPT_BY_PANEL[module]]) == sorted(
        a.target.id for a in wrapped.body if isinstance(a, ast.AnnAssign)
    )


@pytest.mark.parametrize("module", MODULES)
def test_every_mrml_widget_is_told_the_scene(module):
    tree = ET.parse(REPOSITORY / module / "Resources" / "UI" / f"{module}.ui")
    selectors = {w.get("name") for w in tree.iter("widget") if w.get("class") in MRML_WIDGETS}
    told = {c.findtext("receiver") for c in tree.iter("connection") if c.findtext("sender") == module}
    assert selectors == told


@pytest.mark.parametrize("module", MODULES)
def test_a_module_file_imports_at_its_top_only_what_slicer_brings_along(module):
    """A missing package would hide the whole module (Extensions Index review question)."""
    source = ast.parse((REPOSITORY / module / f"{module}.py").read_text(encoding="utf-8"))
    names = [alias.name for node in source.body if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in source.body if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} <= STANDARD | {"slicer", "vtk"}
