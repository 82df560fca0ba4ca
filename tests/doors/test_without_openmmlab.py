"""A backbone needs PyTorch and MMEngine; detectors, segmentors and their tools may be absent."""

import os
import subprocess
import sys
from pathlib import Path

from mmmamba.compat import extension

ROOT = Path(__file__).parents[2]
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
