"""The messages of docs/troubleshooting.md are what the programs say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from mmmamba import create_backbone
from mmmamba.config.find import find_config
from mmmamba.datasets.shapes import ShapesSpec, make_shapes

from .blocks import run_page

BASE = find_config("mask_rcnn/vmamba_t_1x_coco").resolve()
SPLIT = """
{split}_dataloader = dict(dataset=dict(
    data_root="my_coco/", ann_file="annotations/instances_{part}.json",
    data_prefix=dict(img="{part}/"), metainfo=dict(classes=("circle", "square"))))
"""


@pytest.fixture
def mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configs, data and files that the examples of the page name."""
    monkeypatch.chdir(tmp_path)
    make_shapes("my_coco", ShapesSpec(num_train=2, num_val=1, size=64))
    Path("photo.jpg").write_bytes(next(Path("my_coco/val").iterdir()).read_bytes())
    config("my_config.py", "model = dict(backbone=dict(drop_path=0.3))")
    config("my_neck.py", 'custom_imports = dict(imports=["my_parts"])')
    Path("my_part.py").touch()
    # Another page's.
    monkeypatch.delitem(sys.modules, "my_parts", raising=False)
    config(
        "other_backbone.py", 'model = dict(backbone=dict(_delete_=True, type="EfficientVMamba"))'
    )
    config(
        "maps_too_coarse.py",
        "model = dict(backbone=dict(init_cfg=None, out_indices=(1, 2, 3)), "
        "neck=dict(in_channels=[192, 384, 768]))",
    )
    splits = [
        SPLIT.format(split=s, part="train" if s == "train" else "val")
        for s in ("train", "val", "test")
    ]
    config(
        "two_classes.py",
        "model = dict(backbone=dict(init_cfg=None))"
        + "".join(splits)
        + 'val_evaluator = dict(ann_file="my_coco/annotations/instances_val.json")',
    )
    backbone = create_backbone("efficientvmamba_t", classifier=True)
    torch.save({"model": backbone.state_dict()}, "imagenet.pth")
    torch.save(backbone, "whole_model.pth")
    content = Path("imagenet.pth").read_bytes()
    Path("cut_off.pth").write_bytes(content[: len(content) // 2])
    Path("login.pth").write_text("<!DOCTYPE html><html>Sign in</html>")


def config(name: str, text: str) -> None:
    # What the page quotes is the second line of the file.
    Path(name).write_text(f"_base_ = {str(BASE)!r}\n{text}\n")


def test_the_page(mistakes) -> None:
    run_page("docs/troubleshooting.md")
