"""A segmentor of pairs whose answer is known for every pixel."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

import mmmamba.detection  # noqa: F401
from mmmamba.datasets.shape_pairs import CLASSES, PALETTE

from . import colours  # noqa: F401  registers the backbone whose map is the image

PAIRS = """
custom_imports = dict(imports=["mmmamba.detection"])
default_scope = "mmseg"
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="AnyChannelsSegDataPreProcessor", mean=[0.0] * 6, std=[1.0] * 6, size_divisor=1),
    backbone=dict(type="Pixels"),
    decode_head=dict(type="FCNHead", in_channels=6, channels=6, num_convs=0, concat_input=False,
                     dropout_ratio=0, num_classes=5, align_corners=False),
    test_cfg=dict(mode="whole"),
)
pipeline = [dict(type="LoadPairedImage"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
test_dataloader = dict(dataset=dict(
    type="PairedSegDataset", img_suffix="_rgb.png", second_suffix="_t.png",
    data_prefix=dict(img_path="rgb", second_path="thermal"), pipeline=pipeline))
"""


def write_pair_run(folder: Path) -> Path:
    """A run whose model tells red from blue by the colours, and warm from cold by the rest."""
    folder.mkdir(parents=True)
    (folder / "pairs.py").write_text(PAIRS)
    cfg = Config.fromfile(folder / "pairs.py")
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    # Red, green, blue, and the thermal image in one of its three channels.
    red, warm = torch.tensor([1.0, 0, -1, 0, 0, 0]), torch.tensor([0.0, 0, 0, 1, 0, 0])
    rows = [red * 0, red + warm, red - warm, warm - red, -red - warm]
    model.decode_head.conv_seg.weight.data = torch.stack(rows)[..., None, None]
    model.decode_head.conv_seg.bias.data = torch.tensor([60.0, -120, 120, -120, 120])
    meta = dict(dataset_meta=dict(classes=CLASSES, palette=PALETTE))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / "epoch_1.pth")
    (folder / "last_checkpoint").write_text(str(folder / "epoch_1.pth"))
    return folder


@pytest.fixture(scope="session")
def pair_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pair_run(tmp_path_factory.mktemp("runs") / "pairs")


def draw_pair(height: int = 40, width: int = 64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four fields on grey: colours (H, W, 3; BGR), heat (H, W), and the labels that are right."""
    image = np.full((height, width, 3), 100, np.uint8)
    heat = np.full((height, width), 120, np.uint8)
    labels = np.zeros((height, width), np.int32)
    for label in range(1, 5):
        columns = slice(label * width // 5, label * width // 5 + width // 10)
        image[4:-4, columns] = (30, 40, 200) if label < 3 else (200, 40, 30)
        heat[4:-4, columns] = 210 if label % 2 else 20
        labels[4:-4, columns] = label
    return image, heat, labels


def write_pairs(folder: Path, names: tuple[str, ...], second: str = "{}.png") -> np.ndarray:
    """Write `rgb/NAME.png` and `thermal/…` and return the labels of each."""
    image, heat, labels = draw_pair()
    for name in names:
        files = folder / "rgb" / f"{name}.png", folder / "thermal" / second.format(name)
        for file, picture in zip(files, (image, heat)):
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), picture)
    return labels
