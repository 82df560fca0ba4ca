"""A detector and a segmentor that know colours.

What they find is known exactly, wherever it lies in an image.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData
from torch import nn

import mmmamba  # noqa: F401  before mmdet, which imports mmcv's operators

from mmdet.models import BaseDetector  # isort: skip

CLASSES = ("blue", "green", "red")
DETECTOR = """
default_scope = "mmdet"
model = dict(type="ColourDetector", data_preprocessor=dict(type="DetDataPreprocessor"))
pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="PackDetInputs", meta_keys=("img_id", "ori_shape", "img_shape")),
]
dataset = dict(type="CocoDataset", ann_file="not/here.json", pipeline=pipeline)
test_dataloader = dict(dataset=dataset)
"""
SEGMENTOR = """
default_scope = "mmseg"
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(type="SegDataPreProcessor", size_divisor=1),
    backbone=dict(type="Pixels"),
    decode_head=dict(type="FCNHead", in_channels=3, channels=3, num_convs=0, concat_input=False,
                     dropout_ratio=0, num_classes=4, align_corners=False),
    test_cfg=dict(mode="whole"),
)
pipeline = [
    dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
test_dataloader = dict(dataset=dict(type="BaseSegDataset", pipeline=pipeline))
"""


@MODELS.register_module(force=True)
class ColourDetector(BaseDetector):
    """Connected pixels of one bright channel are an object; the more of them, the surer."""

    def __init__(self, data_preprocessor: dict) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.threshold = nn.Parameter(torch.tensor(128.0))

    def predict(self, batch_inputs, batch_data_samples, rescale=True):
        for image, sample in zip(batch_inputs.byte().cpu().numpy(), batch_data_samples):
            found = []
            for label, channel in enumerate(image):
                bright = (channel > float(self.threshold)).astype(np.uint8)
                count, parts, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
                for index in range(1, count):
                    x, y, width, height, area = stats[index]
                    score = area / (area + 50)
                    found.append(([x, y, x + width, y + height], score, label, parts == index))
            boxes, scores, labels, masks = zip(*found) if found else ((), (), (), ())
            sample.pred_instances = InstanceData(
                bboxes=torch.tensor(np.array(boxes, dtype=np.float32).reshape(-1, 4)),
                scores=torch.tensor(scores),
                labels=torch.tensor(labels, dtype=torch.long),
                masks=torch.tensor(np.array(masks, dtype=bool).reshape(-1, *image.shape[1:])),
            )
        return batch_data_samples

    def extract_feat(self, batch_inputs):
        raise NotImplementedError

    def loss(self, batch_inputs, batch_data_samples):
        raise NotImplementedError

    def _forward(self, batch_inputs, batch_data_samples=None):
        raise NotImplementedError


@MODELS.register_module(force=True)
class Pixels(BaseModule):
    """A backbone whose map is the image."""

    def forward(self, image):
        return (image,)


def write_run(folder: Path, text: str, **meta) -> Path:
    """A run's folder as MMEngine leaves it: config, checkpoint, note of the last checkpoint."""
    folder.mkdir(parents=True)
    (folder / "colours.py").write_text(text)
    cfg = Config.fromfile(folder / "colours.py")
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    if hasattr(model, "decode_head"):
        # Nothing, then one class for each bright channel.
        model.decode_head.conv_seg.weight.data = torch.cat([torch.zeros(1, 3), torch.eye(3)])[
            ..., None, None
        ]
        model.decode_head.conv_seg.bias.data = torch.tensor([128.0, 0, 0, 0])
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / "epoch_1.pth")
    (folder / "last_checkpoint").write_text(str(folder / "epoch_1.pth"))
    return folder


@pytest.fixture(scope="session")
def detector_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    palette = [(40, 80, 220), (40, 160, 60), (220, 50, 50)]
    meta = dict(dataset_meta=dict(CLASSES=CLASSES, palette=palette))
    return write_run(tmp_path_factory.mktemp("runs") / "detector", DETECTOR, **meta)


@pytest.fixture(scope="session")
def segmentor_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    meta = dict(dataset_meta=dict(classes=("nothing", *CLASSES)))
    return write_run(tmp_path_factory.mktemp("runs") / "segmentor", SEGMENTOR, **meta)


def draw_image(
    height: int, width: int, count: int, seed: int = 0, side: tuple[int, int] = (8, 40)
) -> np.ndarray:
    """Bright ellipses and squares that do not touch, on a dark image (H, W, 3)."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 20, dtype=np.uint8)
    taken = np.zeros((height, width), dtype=bool)
    drawn = 0
    while drawn < count:
        w, h = rng.integers(*side, 2)
        x, y = rng.integers(2, width - w - 2), rng.integers(2, height - h - 2)
        if taken[y - 2 : y + h + 2, x - 2 : x + w + 2].any():
            continue
        taken[y : y + h, x : x + w] = True
        colour = [20, 20, 20]
        colour[int(rng.integers(3))] = 230
        if rng.random() < 0.5:
            cv2.ellipse(
                image,
                ((float(x + w / 2), float(y + h / 2)), (float(w - 2), float(h - 2)), 0),
                colour,
                -1,
            )
        else:
            cv2.rectangle(image, (int(x), int(y)), (int(x + w - 1), int(y + h - 1)), colour, -1)
        drawn += 1
    return image
