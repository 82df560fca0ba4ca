"""A backbone needs PyTorch and MMEngine; detectors, segmentors and their tools may be absent."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmmamba.compat import extension

from ..test_imports import FILES, imported, modules_of

ROOT = Path(__file__).parents[2]
FOREIGN = {"mmcv", "mmdet", "mmseg", "mmpretrain", "pycocotools", "matplotlib", "timm"}
ABSENT = """
import sys

class Absent:
    names = {
        "mmcv", "mmdet", "mmseg", "mmpretrain", "timm", "huggingface_hub",
        "matplotlib", "pycocotools", "einops",
    }

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""
USE = """
import torch
import mmmamba

backbone = mmmamba.create_backbone("vmamba_t", embed_dims=16, depths=(1, 1, 1, 1))
assert [m.shape[2] for m in backbone(torch.rand(1, 3, 64, 64))] == [16, 8, 4, 2]
assert not Absent.names & set(sys.modules)
for door in ("timm", "hub"):
    try:
        __import__(f"mmmamba.{door}")
    except mmmamba.errors.UsageError as error:
        print("told:", error)
"""


def at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The imports of a module that run when it is imported: none of a function or of types."""
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, ast.Try) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test)
        ):
            yield from at_import([*node.body, *node.orelse])


def names_at_import(module: str) -> set[str]:
    body = ast.parse(FILES[module].read_text()).body
    return imported(FILES[module], ast.Module(list(at_import(body)), []))


def test_no_file_that_an_import_reaches_imports_what_may_be_absent():
    waiting = ["__init__", *(name for name in FILES if name.startswith("models.backbones."))]
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        names = names_at_import(module)
        tops = {name.split(".")[0] for name in names}
        assert not tops & FOREIGN, f"import mmmamba reaches {module}, which imports {tops}"
        waiting += modules_of(names)
        # A module is imported behind the packages that it lies in.
        waiting += [package for package in (module.rpartition(".")[0],) if package in FILES]
    assert {"engine.log", "models.necks.efficientvit_fpn", "compat"} <= seen


@pytest.mark.slow
def test_a_backbone_needs_neither_detectors_nor_their_tools():
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ABSENT + USE], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("told:")]
    assert len(told) == 2
    assert "pip install timm" in told[0] and "pip install huggingface_hub" in told[1]


def test_where_there_is_no_mmcv_there_are_no_operators_to_answer(monkeypatch):
    monkeypatch.setattr(extension, "_folders_of_mmcv", lambda: None)
    monkeypatch.setattr(sys, "meta_path", [])
    extension.install()
    assert sys.meta_path == []
