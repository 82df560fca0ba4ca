"""A file's results, in the original image, are the model's: heads of all kinds, by each pipeline.

PyTorch runs the graph in the place of a runtime: whether files compute what graphs do is verified
elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmmamba.exporting.describing import metadata_of
from mmmamba.exporting.graphs import Graph, graph_of
from mmmamba.exporting.metadata import Metadata
from mmmamba.exporting.opened import ExportedDetector, ExportedSegmentor
from mmmamba.exporting.pipelines import fitted, own_pipeline
from mmmamba.exporting.verify import draw, run_graph

from .graphs import cases, two_stage_models

LOAD = dict(type="LoadImageFromFile")
KEEP = dict(type="Resize", scale=(333, 200), keep_ratio=True)
LETTERBOX = dict(type="Letterbox", size=160, rect=True)
PACK = dict(
    type="PackDetInputs",
    meta_keys=("ori_shape", "img_shape", "scale_factor", "pad_param"),
)
# Faint images: where scores are rounded to 1 mmdet leaves their order open.
STD = [300.0] * 3
PREPROCESSOR = dict(
    type="DetDataPreprocessor",
    mean=[123.675, 116.28, 103.53],
    std=STD,
    bgr_to_rgb=True,
    pad_size_divisor=32,
)
SHAPES = ((150, 220), (231, 160))
"""An image that lies and one that stands."""


class InPyTorch:
    """A runtime that is the graph itself."""

    name = "PyTorch"

    def __init__(self, graph: Graph, metadata: Metadata) -> None:
        self.graph, self.metadata = graph, metadata

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        size = self.metadata.inputs.size
        assert size is None or inputs["images"].shape[2:] == tuple(size)
        return run_graph(self.graph, inputs)


def both(
    model: nn.Module,
    steps: list[dict],
    preprocessor: dict,
    scope: str = "mmdet",
    size: tuple[int, int] | None = None,
    logits: bool = False,
) -> list[tuple[Any, Any]]:
    """What a model finds, and what is made of its graph's outputs, of images by each pipeline.

    Args:
        size: of a file of a fixed size.
    """
    with DefaultScope.overwrite_default_scope(scope):
        model.data_preprocessor = MODELS.build(preprocessor)
    loader = dict(dataset=dict(pipeline=[LOAD, *steps]))
    network = dict(data_preprocessor=preprocessor)
    cfg = Config(dict(default_scope=scope, model=network, test_dataloader=loader))
    graph = graph_of(model, logits=logits)
    metadata = metadata_of(graph, model, cfg, format="onnx", size=size, batch=None)
    kind = ExportedDetector if scope == "mmdet" else ExportedSegmentor
    opened = kind("model.onnx", runtime=InPyTorch(graph, metadata)).eval()
    tested = steps if size is None else fitted([LOAD, *steps], size)[1:]
    pairs = []
    for shape in SHAPES:
        wanted = step(model, tested, shape, scope)
        pairs.append((wanted, step(opened, tested, shape, scope)))
        # As `infer` prepares images, by the metadata alone.
        pairs.append((wanted, step(opened, own_pipeline(metadata)[1:], shape, scope)))
    return pairs


def step(model: nn.Module, steps: list[dict], shape: tuple[int, int], scope: str) -> Any:
    image = draw(*shape, seed=SHAPES.index(shape))
    with DefaultScope.overwrite_default_scope(scope), torch.no_grad():
        data = Compose(steps)(dict(img=image, img_shape=shape, ori_shape=shape))
        return model.test_step(pseudo_collate([data]))[0]


def same_objects(wanted: Any, given: Any) -> int:
    """Assert that they are, and count them."""
    wanted, given = wanted.pred_instances, given.pred_instances
    # mmdet's YOLOX gives all that it finds.
    wanted = wanted[: len(given)]
    assert torch.equal(wanted.labels, given.labels)
    torch.testing.assert_close(wanted.scores, given.scores, atol=1e-5, rtol=0)
    torch.testing.assert_close(wanted.bboxes, given.bboxes, atol=1e-3, rtol=0)
    if "masks" in wanted:
        assert wanted.masks.shape == given.masks.shape
        assert (wanted.masks != given.masks).float().mean() < 1e-4
    return len(given)


@pytest.mark.parametrize("base", ["retinanet_fpn", "rtmdet_pafpn", "yolox_pafpn", "yolo_dfl_pafpn"])
def test_one_stage(base: str) -> None:
    model = cases.detector(base, score_thr=0.1)
    found = [same_objects(*pair) for pair in both(model, [KEEP, PACK], PREPROCESSOR)]
    assert max(found) > 5


@pytest.mark.parametrize("size", [None, (160, 160)])
def test_letterbox(size: tuple[int, int] | None) -> None:
    model = cases.detector("yolo_dfl_pafpn")
    preprocessor = PREPROCESSOR | dict(mean=[0.0] * 3, pad_value=114 / 300)
    found = [
        same_objects(*pair) for pair in both(model, [LETTERBOX, PACK], preprocessor, size=size)
    ]
    assert min(found) > 3


@pytest.mark.parametrize("base", ["mask_rcnn_fpn", "cascade_mask_rcnn_fpn"])
def test_two_stage_with_masks(base: str) -> None:
    model = two_stage_models.detector(two_stage_models.settings(base))
    small = dict(KEEP, scale=(160, 96))
    found = [same_objects(*pair) for pair in both(model, [small, PACK], PREPROCESSOR)]
    assert min(found) > 2


def test_a_fixed_size_that_lies_gives_the_same_for_images_that_lie() -> None:
    """Those that stand have more padding than the model's own tests give them."""
    model = cases.detector("retinanet_fpn")
    pairs = both(model, [KEEP, PACK], PREPROCESSOR, size=(160, 224))
    found = [same_objects(*pair) for pair in pairs[:2]]
    assert min(found) > 3


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("size", [None, (96, 128)])
def test_segmentation(logits: bool, size: tuple[int, int] | None) -> None:
    head = dict(
        type="FCNHead",
        in_channels=cases.WIDTH,
        channels=8,
        num_convs=1,
        num_classes=4,
        in_index=0,
        norm_cfg=None,
        align_corners=False,
    )
    preprocessor = dict(type="SegDataPreProcessor", mean=[120.0] * 3, std=STD, bgr_to_rgb=True)
    if size is not None:
        # As the file pads, so the model must.
        preprocessor["test_cfg"] = dict(size=size)
    with DefaultScope.overwrite_default_scope("mmseg"):
        torch.manual_seed(0)
        network = dict(
            type="EncoderDecoder",
            backbone=dict(type="FewConvolutions"),
            decode_head=head,
            test_cfg=dict(mode="whole"),
            data_preprocessor=preprocessor,
        )
        model = cases.spread(MODELS.build(ConfigDict(network))).eval()
    steps = [dict(KEEP, scale=(200, 100)), dict(type="PackSegInputs")]
    for wanted, given in both(model, steps, preprocessor, "mmseg", size, logits):
        if logits:
            difference = (wanted.seg_logits.data - given.seg_logits.data).abs().max()
            assert difference < 1e-4
        same = (wanted.pred_sem_seg.data == given.pred_sem_seg.data).float().mean()
        # Label maps are scaled pixel by pixel.
        assert same > (0.9999 if logits else 0.97)
        assert len(given.pred_sem_seg.data.unique()) > 2
