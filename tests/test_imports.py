"""Each package imports only those below it, and nothing goes round in a circle."""

import ast
from collections import defaultdict
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mmmamba"
ORDER = (
    "commands",
    "inference",
    "engine",
    "exporting",
    "datasets",
    "visualization",
    "evaluation",
    "models",
    "acceleration",
    "config",
    "checkpoints",
    "structures",
    "layers",
    "ops",
    "compat",
)
"""Above those that they may import. Files of the package itself, as `errors.py`, import none."""
ENTRANCES = {
    "__init__",
    "__main__",
    "classification",
    "detection",
    "hub",
    "segmentation",
    "timm",
}
"""What a user imports, above everything."""
WITHOUT_OPENMMLAB = {"ops", "layers"}
OPENMMLAB = {"mmengine", "mmcv", "mmdet", "mmseg", "mmpretrain"}


def files() -> dict[str, Path]:
    """The file of every module, by the module's name without `mmmamba.`."""
    names = {}
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)] = file
    return names


FILES = files()


def imported(file: Path, tree: ast.AST | None = None) -> set[str]:
    """Full names of the modules that a file, or a part of it, imports, and of what it takes."""
    package = ("mmmamba", *file.relative_to(PACKAGE).parent.parts)
    names = set()
    for node in ast.walk(tree or ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def modules_of(names: Iterable[str]) -> set[str]:
    """Ours among them, without `mmmamba.`; a name taken from a module counts as that module."""
    found = set()
    for name in names:
        parts = name.split(".")
        if parts[0] != "mmmamba":
            continue
        while parts[1:] and ".".join(parts[1:]) not in FILES:
            parts.pop()
        found.add(".".join(parts[1:]) or "__init__")
    return found


IMPORTS = {name: modules_of(imported(file)) - {name} for name, file in FILES.items()}


def floor(module: str) -> int:
    """How far down a module stands."""
    top = module.split(".")[0]
    if top in ENTRANCES:
        return -1
    return ORDER.index(top) if top in ORDER else len(ORDER)


def circle(graph: dict[str, Iterable[str]]) -> list[str]:
    """One circle of a graph, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_every_package_has_a_place_in_the_order():
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages == set(ORDER)


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_only_those_below_it(package):
    for module in FILES:
        if module.split(".")[0] != package:
            continue
        above = [name for name in IMPORTS[module] if floor(name) < floor(module)]
        assert not above, f"{module} imports {above}"


def test_files_of_the_package_itself_import_nothing_of_it():
    for module in FILES:
        if floor(module) == len(ORDER):
            above = [name for name in IMPORTS[module] if floor(name) < len(ORDER)]
            assert not above, f"{module} imports {above}"


@pytest.mark.parametrize("package", sorted(WITHOUT_OPENMMLAB))
def test_the_lowest_floors_know_nothing_of_openmmlab(package):
    for file in (PACKAGE / package).rglob("*.py"):
        tops = {name.split(".")[0] for name in imported(file)}
        assert not tops & OPENMMLAB, f"{file.relative_to(PACKAGE)} imports {tops & OPENMMLAB}"


def test_no_circle_of_files():
    assert circle(IMPORTS) == []


def rooms() -> dict[str, dict[str, set[str]]]:
    """What the files and folders of each folder import of one another."""
    inside: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for module, names in IMPORTS.items():
        for name in names:
            ours, theirs = module.split("."), name.split(".")
            shared = 0
            while shared < min(len(ours), len(theirs)) and ours[shared] == theirs[shared]:
                shared += 1
            # A folder's own file is its face, not a room beside the others.
            if shared < len(ours) and shared < len(theirs):
                inside[".".join(ours[:shared])][ours[shared]].add(theirs[shared])
    return inside


def test_no_circle_of_folders():
    circles = {folder: found for folder, graph in rooms().items() if (found := circle(graph))}
    assert circles == {}


def test_the_reader_of_imports_sees_relative_ones():
    taken = imported(PACKAGE / "ops" / "__init__.py")
    assert "mmmamba.ops.routes" in {name.rpartition(".")[0] for name in taken}
    assert "ops.selective_scan.common" in IMPORTS["ops.selective_scan.torch"]


def test_a_circle_would_be_seen():
    assert circle({"a": ["b"], "b": ["c"], "c": ["a"]})
