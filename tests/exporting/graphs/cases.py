"""Small models without a scan, what they predict, and what their graphs give in other forms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

import mmmamba.detection  # noqa: F401  (registers the heads)
from mmmamba.exporting.graphs import Graph
from mmmamba.exporting.onnx import to_onnx
from mmmamba.exporting.tracing import trace
from tests.configs.conftest import CONFIGS

NMS = dict(type="nms", iou_threshold=0.5)
CLASSES = 3
WIDTH = 8
SIZES = ((64, 96), (75, 51), (128, 101))
"""Heights and widths of images."""


@MODELS.register_module()
class FewConvolutions(nn.Module):
    """Maps of strides 4 to 32."""

    def __init__(self, out_indices: Sequence[int] = (0, 1, 2, 3)) -> None:
        super().__init__()
        self.out_indices = tuple(out_indices)
        self.stem = nn.Conv2d(3, WIDTH, 3, 2, 1, bias=False)
        self.stages = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3, 2, 1, bias=False) for _ in range(4))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x, maps = self.stem(images), []
        for stage in self.stages:
            x = stage(x).relu()
            maps.append(x)
        return tuple(maps[index] for index in self.out_indices)


def detector(base: str, kind: str | None = None, **test_cfg: object) -> nn.Module:
    """The detector of a base config made small, or with mmdet's `kind` of its head.

    Its weights are such that scores and boxes are of all kinds.
    """
    model = Config.fromfile(CONFIGS / "_base_" / "models" / f"{base}.py").model
    init_default_scope("mmdet")
    model.update(
        backbone=dict(type="FewConvolutions", out_indices=(1, 2, 3)),
        train_cfg=None,
        data_preprocessor=None,
        test_cfg=model.test_cfg | dict(nms=NMS, score_thr=0.3, nms_pre=60, max_per_img=25),
    )
    model.neck = None
    model.test_cfg.update(test_cfg)
    head = model.bbox_head
    head.update(type=kind or head.type, num_classes=CLASSES)
    if base == "retinanet_fpn":
        head.anchor_generator.strides = [8, 16, 32]
    if "feat_channels" in head:
        head.update(in_channels=WIDTH, feat_channels=WIDTH, stacked_convs=1)
    else:
        head.in_channels = [WIDTH] * 3
    torch.manual_seed(0)
    built = MODELS.build(ConfigDict(model)).eval()
    return spread(built)


def spread(model: nn.Module) -> nn.Module:
    """The model with random weights that keep the spread of what passes through."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def batch(images: int, size: Sequence[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images of which each is a little smaller than the one before, and their sizes."""
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    sizes = torch.tensor([(height - 7 * n, width - 11 * n) for n in range(images)])
    # Faint, so that few scores are rounded to 1, whose order mmdet leaves open.
    batch = 0.3 * torch.randn(images, 3, height, width, generator=generator)
    for image, (rows, columns) in zip(batch, sizes.tolist()):
        image[:, rows:], image[:, :, columns:] = 0, 0
    return batch, sizes


def predict(model: nn.Module, images: Tensor, sizes: Tensor) -> list:
    """What the model itself finds, in pixels of the input."""
    samples = []
    for size in sizes.tolist():
        meta = dict(img_shape=tuple(size), ori_shape=tuple(size), scale_factor=(1.0, 1.0))
        samples.append(DetDataSample(metainfo=meta | dict(pad_shape=tuple(images.shape[-2:]))))
    with torch.no_grad():
        return [found.pred_instances for found in model.predict(images, samples, rescale=False)]


def traced(graph: Graph, size: Sequence[int] | None = None) -> torch.export.ExportedProgram:
    """For two images of a size, or for any number of images of any size."""
    inputs = batch(2, size or (67, 90))[: len(graph.input_names)]
    return trace(graph, inputs, dynamic=size is None)


def onnx_file(graph: Graph, program: torch.export.ExportedProgram) -> bytes:
    import onnx_ir

    return onnx_ir.to_proto(to_onnx(program, graph)).SerializeToString()


def run_onnx(model: bytes, *inputs: Tensor) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options)
    names = [one.name for one in session.get_inputs()]
    return session.run(None, {name: one.numpy() for name, one in zip(names, inputs)})


def segmentor(base: str, classes: int = 5, align_corners: bool = False, **test_cfg) -> nn.Module:
    """The segmentor of a base config made small."""
    model = Config.fromfile(CONFIGS / "_base_" / "models" / f"{base}.py").model
    init_default_scope("mmseg")
    indices = (0, 1, 2, 3) if base == "upernet" else (0, 1, 2)
    widths = [WIDTH] * len(indices)
    model.update(
        backbone=dict(type="FewConvolutions", out_indices=indices),
        auxiliary_head=None,
        train_cfg=None,
        test_cfg=dict(mode="whole") | test_cfg,
        data_preprocessor=None,
    )
    head = model.decode_head
    head.update(in_channels=widths, channels=WIDTH, align_corners=align_corners)
    head.update(num_classes=max(classes, 2), out_channels=classes, norm_cfg=dict(type="BN"))
    head.loss_decode.use_sigmoid = classes == 1
    if "neck" in model:
        model.neck.update(in_channels=widths, out_channels=WIDTH)
    torch.manual_seed(0)
    return spread(MODELS.build(ConfigDict(model)).eval())
