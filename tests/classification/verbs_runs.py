"""Runs of small classifiers, as mmpretrain leaves them, for the tests of the verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

CLASSES = ("basophil", "eosinophil", "lymphocyte")
OURS = """
custom_imports = dict(imports=["mmmamba.classification"])
model = dict(
    type="ImageClassifier",
    data_preprocessor=dict(
        num_classes=3, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(
        type="VMamba", arch=dict(embed_dims=16, depths=(1, 1, 1, 1)), classifier=True,
        num_classes=3),
    head=dict(type="LogitsHead", loss=dict(type="CrossEntropyLoss"), topk=(1, 2)),
)
"""
RESNET = """
data_preprocessor = dict(
    num_classes=3, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
model = dict(
    type="ImageClassifier",
    backbone=dict(type="ResNet", depth=18, base_channels=8, stem_channels=8),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=3, in_channels=64,
              loss=dict(type="CrossEntropyLoss"), topk=(1, 2)),
)
"""
DATA = """
default_scope = "mmpretrain"
pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=72, edge="short"),
    dict(type="CenterCrop", crop_size=64),
    dict(type="PackInputs"),
]
test_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="CustomDataset", data_root={root!r}, pipeline=pipeline))
test_evaluator = dict(type="Accuracy", topk=(1, 2))
test_cfg = dict()
"""


def write_run(folder: Path, model: str, root: Path | str = "", **changes: Any) -> Path:
    """A run's folder: config, checkpoint of random weights, note of the last checkpoint.

    Args:
        model: the config's model, `OURS` or `RESNET`.
        root: folder of class folders that it is tested on.
        changes: of the config, by dotted keys with `__` in the place of dots.
    """
    folder.mkdir(parents=True)
    (folder / "run.py").write_text(DATA.format(root=str(root)) + model)
    cfg = Config.fromfile(folder / "run.py")
    cfg.merge_from_dict({key.replace("__", "."): value for key, value in changes.items()})
    cfg.dump(folder / "run.py")
    settings = cfg.model
    if cfg.get("data_preprocessor"):
        settings.setdefault("data_preprocessor", cfg.data_preprocessor)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        network = MODELS.build(settings)
    for module in network.modules():
        # Else all images would have about the same scores.
        if isinstance(module, torch.nn.Linear) and module.out_features == 3:
            module.weight.data.mul_(20 / module.weight.data.norm())
    meta = dict(dataset_meta=dict(classes=CLASSES))
    torch.save(dict(state_dict=network.state_dict(), meta=meta), folder / "epoch_1.pth")
    (folder / "last_checkpoint").write_text(str(folder / "epoch_1.pth"))
    return folder


def write_clip(path: Path) -> None:
    """A video of three frames."""
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (128, 96))
    for level in (0, 120, 250):
        video.write(np.full((96, 128, 3), level, np.uint8))
    video.release()


def write_images(root: Path, count: int = 2) -> Path:
    """Class folders of drawn images of several shapes."""
    random = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for number in range(count):
            image = np.full((90 + 10 * number, 120, 3), 200, np.uint8)
            for _ in range(6):
                x, y = (int(one) for one in random.integers(10, 110, 2))
                colour = [30, 30, 30]
                colour[label] = 220
                cv2.circle(image, (x, y), 12, colour, -1)
            cv2.imwrite(str(root / name / f"{number}.png"), image)
    return root
