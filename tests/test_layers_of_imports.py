"""Imports point downwards only: tools and configs, models, layers, ops."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mmmamba"
FORBIDDEN = {
    "ops": {
        "mmmamba.layers",
        "mmmamba.models",
        "mmmamba.checkpoints",
        "mmmamba.engine",
        "mmmamba.datasets",
    },
    "layers": {"mmmamba.models", "mmmamba.checkpoints", "mmmamba.engine", "mmmamba.datasets"},
    "checkpoints": {"mmmamba.models", "mmmamba.engine", "mmmamba.datasets"},
    "models": {"mmmamba.engine", "mmmamba.zoo"},
}
OPENMMLAB = ("mmengine", "mmcv", "mmdet", "mmseg")


def imported(file: Path) -> set[str]:
    """Full names of the modules that a file imports, and of what it takes from them."""
    package = ("mmmamba", *file.relative_to(PACKAGE).parent.parts)
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_no_layer_imports_from_above(layer):
    for file in (PACKAGE / layer).rglob("*.py"):
        for name in imported(file):
            above = [
                module
                for module in FORBIDDEN[layer]
                if name == module or name.startswith(f"{module}.")
            ]
            assert not above, f"{file.relative_to(PACKAGE)} imports {name}"
            if layer in ("ops", "layers"):
                assert name.split(".")[0] not in OPENMMLAB, (
                    f"{file.relative_to(PACKAGE)} imports {name}"
                )


def test_the_reader_of_imports_sees_relative_ones():
    assert "mmmamba.ops.routes" in {
        n.rsplit(".", 1)[0] for n in imported(PACKAGE / "ops" / "__init__.py")
    }
