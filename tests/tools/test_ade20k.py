"""mIoU of ADE20K's files by tools/test.py: whole, in windows, at several sizes, of odd sides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmmamba.commands import main

from .conftest import TINY_SEG

CLASSES = 4
SIZES = [(61, 83), (75, 50), (47, 90)]
MORE = """
small = [dict(type="LoadImageFromFile"), dict(type="Resize", scale=(180, 45), keep_ratio=True),
         dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
test_dataloader = dict(num_workers=0, persistent_workers=False,
                       dataset=dict(data_root="ade", pipeline=small))
model["decode_head"].update(channels=16)
expected = dict(metrics={"mIoU": 150.0}, metrics_tta={"mIoU": 150.0},
                source="nobody", verified=False)
"""
MODES = {
    "whole": [],
    "slide": [
        "--cfg-options",
        "model.test_cfg.mode=slide",
        "model.test_cfg.crop_size=(40,40)",
        "model.test_cfg.stride=(27,27)",
    ],
    "tta": ["--tta"],
}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny UperNet with untrained weights in tiny.pth, and three images stored as ADE20K's."""
    monkeypatch.chdir(tmp_path)
    images, labels = Path("ade/images/validation"), Path("ade/annotations/validation")
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i, size in enumerate(SIZES):
        cv2.imwrite(
            str(images / f"ADE_val_{i:08d}.jpg"), rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        )
        label = rng.integers(0, CLASSES + 1, (3, 4), dtype=np.uint8)
        label[0, 0] = 0
        label = cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(labels / f"ADE_val_{i:08d}.png"), label)
    path = Path("tiny.py").absolute()
    path.write_text(TINY_SEG + MORE)
    cfg = Config.fromfile(path)
    init_default_scope("mmseg")
    torch.manual_seed(0)
    state = MODELS.build(cfg.model).state_dict()
    # Only the classes that the labels have, and all of those: else nearly every IoU would be 0.
    state["decode_head.conv_seg.weight"] *= 100
    state["decode_head.conv_seg.weight"][CLASSES:] = 0
    state["decode_head.conv_seg.bias"][CLASSES:] = -1000
    torch.save(dict(state_dict=state), "tiny.pth")
    return path


def miou(maps: Path) -> float:
    """The benchmark's mIoU in percent, over the classes that occur in labels or predictions."""
    both, either = np.zeros(150), np.zeros(150)
    for file in sorted(Path("ade/annotations/validation").iterdir()):
        label, predicted = (
            cv2.imread(str(p), cv2.IMREAD_UNCHANGED).astype(int) for p in (file, maps / file.name)
        )
        assert predicted.shape == label.shape and predicted.min() >= 1 and predicted.max() <= 150
        counted = label > 0
        for k in range(150):
            a, b = (label == k + 1) & counted, (predicted == k + 1) & counted
            both[k] += (a & b).sum()
            either[k] += (a | b).sum()
    return 100 * float(np.mean(both[either > 0] / either[either > 0]))


@pytest.mark.parametrize("mode", MODES)
def test_the_miou_is_that_of_the_maps_it_writes(
    config: Path, mode: str, capsys: pytest.CaptureFixture
) -> None:
    command = [str(config), "tiny.pth", "--out", "maps", *MODES[mode]]
    assert main(["test", *command, "--verify", "0.2"]) == 1
    assert "MISSED" in capsys.readouterr().out
    wanted = miou(Path("maps"))
    assert wanted > 5
    config.write_text(config.read_text().replace("150.0", f"{wanted}"))
    assert main(["test", *command, "--verify", "0.01"]) == 0
    assert "passed" in capsys.readouterr().out


def test_verify_without_anything_expected(config: Path, complaint: Callable[..., str]) -> None:
    config.write_text(config.read_text() + "expected = None\n")
    assert (
        "which" in (message := complaint("test", config, "tiny.pth", "--verify"))
        and "tiny.py" in message
    )
