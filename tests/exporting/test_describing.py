"""What the shipped configs say of their images, and the sizes that they are exported at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmmamba import create_backbone
from mmmamba.config.open import open_config
from mmmamba.errors import UsageError
from mmmamba.exporting.describing import default_size, metadata_of
from mmmamba.exporting.graphs import Graph
from mmmamba.exporting.metadata import Inputs
from mmmamba.exporting.preparing import prepare
from mmmamba.exporting.steps import read_pipeline
from mmmamba.structures.classes import Classes

CONFIGS = Path(__file__).parents[2] / "configs"
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
IMAGENET = dict(mean=MEAN, std=STD, pad_value=MEAN)
GREY = (114.0,) * 3
TINY = dict(embed_dims=16, depths=(1, 1, 1, 1))
LETTERBOX = dict(
    resize="letterbox",
    scale=(640, 640),
    size_divisor=32,
    pad_extra=16,
    pad_value=GREY,
    pad_place="centre",
    sizes_with_padding=True,
)
CORNER = dict(resize="keep_ratio", pad_value=GREY, sizes_with_padding=True, size_divisor=32)
CASES: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
    "mask_rcnn/mambavision_t_1x_coco": (
        (800, 1344),
        IMAGENET | dict(resize="keep_ratio", scale=(1333, 800), size_divisor=32),
    ),
    "mask_rcnn/vim_f_t_100e-lsj_coco": (
        (1024, 1024),
        IMAGENET | CORNER | dict(scale=(1024, 1024), pad_to=(1024, 1024)),
    ),
    "retinanet/plainmamba_l1_det_1x_coco": (
        (800, 1344),
        IMAGENET | dict(resize="keep_ratio", scale=(1333, 800), size_divisor=32),
    ),
    "mamba_yolo/mamba_yolo_t_300e_coco": (
        (640, 640),
        LETTERBOX | dict(mean=(0.0,) * 3, std=(255.0,) * 3),
    ),
    "yolo/vmamba_t_dfl_36e_coco": ((640, 640), IMAGENET | LETTERBOX),
    "yolo/vmamba_t_rtmdet_36e_coco": (
        (640, 640),
        IMAGENET | CORNER | dict(scale=(640, 640), pad_to=(640, 640)),
    ),
    "yolo/vmamba_t_yolox_36e_coco": (
        (640, 640),
        IMAGENET | CORNER | dict(scale=(640, 640), pad_to=(640, 640)),
    ),
    "upernet/vmamba_t_160k_ade20k-512x512": (
        (512, 512),
        IMAGENET | dict(resize="keep_ratio", scale=(2048, 512)),
    ),
    "upernet/plainmamba_l1_160k_ade20k-512x512": (
        (512, 512),
        IMAGENET | dict(resize="keep_ratio", scale=(2048, 512), multiple=32),
    ),
    "semantic_fpn/mobilemamba_b4_160k_ade20k-512x512": (
        (512, 512),
        IMAGENET | dict(resize="keep_ratio", scale=(2048, 512)),
    ),
    "cityscapes/vmamba_t_160k_cityscapes-512x1024": (
        (1024, 2048),
        IMAGENET | dict(resize="keep_ratio", scale=(2048, 1024)),
    ),
}


class Boxes(Graph):
    task = "detection"
    input_names = ("images", "image_sizes")
    output_names = ("boxes", "scores", "labels")


def preprocessing_of(cfg: Config) -> nn.Module:
    """A model that has nothing but its data preprocessor and thresholds."""
    model = nn.Module()
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope", "mmdet")):
        model.data_preprocessor = MODELS.build(cfg.model.data_preprocessor)
    model.test_cfg = cfg.model.get("test_cfg")
    return model


@pytest.mark.parametrize("name", CASES)
def test_shipped_configs(name):
    cfg = open_config(CONFIGS / f"{name}.py")
    size, wanted = CASES[name]
    chosen = default_size(cfg)
    assert chosen.size == size
    assert chosen.reason
    model = preprocessing_of(cfg)
    metadata = metadata_of(Boxes(), model, cfg, format="onnx", size=size, batch=2)
    names = ("images", "image_sizes")
    assert metadata.inputs == Inputs(names=names, size=size, batch=2, **wanted)
    dynamic = metadata_of(Boxes(), model, cfg, format="onnx", batch=None)
    assert dynamic.inputs == Inputs(names=names, batch=None, **wanted)


def test_thresholds_and_names():
    cfg = open_config(CONFIGS / "mask_rcnn/mambavision_t_1x_coco.py")
    graph = Boxes()
    graph.output_names = ("boxes", "scores", "labels", "masks")
    classes = Classes(("cat", "dog"), ((1, 2, 3), (4, 5, 6)), (1, 2))
    metadata = metadata_of(graph, preprocessing_of(cfg), cfg, format="pt2", classes=classes)
    assert (metadata.score_threshold, metadata.mask_threshold) == (0.05, 0.5)
    assert metadata.classes == ("cat", "dog")
    assert metadata.palette == ((1, 2, 3), (4, 5, 6))
    assert metadata_of(Boxes(), nn.Module(), format="onnx").mask_threshold is None


def test_a_size_of_ones_own_takes_the_place_of_the_scale():
    cfg = open_config(CONFIGS / "mask_rcnn/mambavision_t_1x_coco.py")
    size = (480, 640)
    metadata = metadata_of(Boxes(), preprocessing_of(cfg), cfg, format="onnx", size=size)
    assert metadata.inputs.scale == (640, 480)


def test_a_backbone_alone():
    backbone = create_backbone("vmamba_t", **TINY)
    metadata = metadata_of(Maps(), backbone, format="onnx", size=(224, 224))
    inputs = metadata.inputs
    assert default_size(None).size == (224, 224)
    assert (inputs.resize, inputs.mean, inputs.channel_order) == ("stretch", MEAN, "rgb")
    many = create_backbone("vmamba_t", **TINY, in_channels=5)
    inputs = metadata_of(Maps(), many, format="onnx").inputs
    assert (inputs.channels, inputs.channel_order, inputs.std) == (5, "bgr", (1.0,) * 5)


class Maps(Graph):
    task = "backbone"
    output_names = ("map0",)


def config(*steps: dict, **preprocessor: Any) -> Config:
    dataset = dict(type="CocoDataset", pipeline=list(steps))
    preprocessor = dict(type="DetDataPreprocessor") | preprocessor
    model = dict(type="RetinaNet", data_preprocessor=preprocessor)
    return Config(dict(model=model, test_dataloader=dict(dataset=dataset)))


LOAD, PACK = dict(type="LoadImageFromFile"), dict(type="PackDetInputs")


@pytest.mark.parametrize(
    "steps, said",
    [
        ((LOAD, PACK), "without resizing them, from which no size follows. Give --size H W"),
        ((LOAD, dict(type="Resize", scale_factor=2.0), PACK), "by Resize, from which no size"),
        ((LOAD, dict(type="mmdet.CLAHE"), PACK), "by CLAHE, from which no size"),
    ],
)
def test_no_size_follows(steps, said):
    with pytest.raises(UsageError, match=said):
        default_size(config(*steps))


@pytest.mark.parametrize(
    "step, wanted",
    [
        (dict(type="Resize", scale=(40, 30)), dict(resize="stretch", scale=(40, 30))),
        (dict(type="Resize", scale=40), dict(resize="stretch", scale=(40, 40))),
        (
            dict(type="ResizeShortestEdge", scale=512, max_size=2048),
            dict(resize="keep_ratio", scale=(2048, 512)),
        ),
        (dict(type="ResizeToMultiple"), dict(multiple=32)),
        (
            dict(type="Pad", size_divisor=16, pad_val=7),
            dict(size_divisor=16, pad_value=(7.0,), sizes_with_padding=True),
        ),
        (dict(type="RandomFlip", prob=0.0), {}),
        (dict(type="RandomFlip", prob=0.5), dict(unknown=("RandomFlip",))),
        (dict(type="Resize", scale=40, interpolation="area"), dict(unknown=("Resize",))),
        (
            dict(type="ResizeEdge", scale=256, backend="pillow", interpolation="bicubic"),
            dict(resize="short_edge", scale=(256, 256), backend="pillow", interpolation="bicubic"),
        ),
        (dict(type="ResizeEdge", scale=256, edge="long"), dict(unknown=("ResizeEdge",))),
        (dict(type="CenterCrop", crop_size=(40, 30)), dict(crop=(30, 40))),
        (dict(type="CenterCrop", crop_size=30, auto_pad=True), dict(unknown=("CenterCrop",))),
        (dict(type="Pad", pad_to_square=True), dict(unknown=("Pad",))),
        (dict(type="LoadTiff"), dict(unknown=("LoadTiff",))),
        (dict(type="LoadImageFromFile", color_type="grayscale"), dict(channels=1)),
    ],
)
def test_steps(step, wanted):
    assert read_pipeline([step, PACK]) == Inputs(**dict(pad_value=(0.0,)) | wanted)


def test_a_second_resize_is_unknown():
    steps = [dict(type="Resize", scale=40), dict(type="Resize", scale=20)]
    assert read_pipeline(steps).unknown == ("Resize",)


def test_preprocessors():
    # Not normalised, in the file's order.
    inputs = read(config(LOAD, dict(type="Resize", scale=64)))
    assert (inputs.channel_order, inputs.mean, inputs.std) == ("bgr", (0.0,) * 3, (1.0,) * 3)
    # Grey.
    grey = dict(LOAD, color_type="grayscale")
    inputs = read(config(grey, mean=[10.0], std=[2.0], pad_value=1.0))
    assert (inputs.channels, inputs.channel_order, inputs.pad_value) == (1, "grey", (12.0,))
    # Ours of any channels, which exchanges colours by itself.
    ours = dict(type="AnyChannelsDetDataPreprocessor", mean=[1.0] * 3, std=[1.0] * 3)
    assert read(config(LOAD, **ours, bgr_to_rgb=True)).channel_order == "rgb"
    # What lies behind the colours stays where it is.
    ours |= dict(mean=[1.0, 2.0, 3.0, 4.0], std=[1.0] * 4)
    inputs = read(config(LOAD, **ours, bgr_to_rgb=True))
    assert (inputs.channels, inputs.channel_order, inputs.mean[3]) == (4, "rgb", 4.0)
    assert prepare(np.uint8([[[5, 6, 7, 8]]]), inputs).image[:, 0, 0].tolist() == [6, 4, 2, 4]
    # The pipeline's values change places with the colours, and padding twice is told.
    pad = dict(type="Pad", size=(48, 40), pad_val=dict(img=(1, 2, 3)))
    padded = config(LOAD, dict(type="Resize", scale=40, keep_ratio=True), pad, bgr_to_rgb=True)
    assert read(padded).pad_value == (3.0, 2.0, 1.0)
    padded.model.data_preprocessor.pad_size_divisor = 32
    assert read(padded).unknown == ("data_preprocessor.pad_size_divisor=32 after Pad",)


def read(cfg: Config) -> Inputs:
    return metadata_of(Boxes(), preprocessing_of(cfg), cfg, format="onnx").inputs


def test_segmentors_that_pad_in_tests():
    preprocessor = dict(type="mmseg.SegDataPreProcessor", test_cfg=dict(size_divisor=16))
    cfg = config(LOAD, dict(type="Resize", scale=(64, 40), keep_ratio=True), **preprocessor)
    assert read(cfg).size_divisor == 16
    assert default_size(cfg).size == (48, 64)
    cfg.model.data_preprocessor.test_cfg = dict(size=(64, 64))
    assert read(cfg).unknown == ("data_preprocessor.test_cfg.size=(64, 64)",)
