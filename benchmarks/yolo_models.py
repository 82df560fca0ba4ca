"""YOLO detectors with random weights that choose as many boxes as trained ones, and their images.

How many boxes pass a threshold decides what NMS costs, and random weights let all pass, or none.
The last class layer of each model is therefore scaled to logits of standard deviation 1.5 and
shifted until the stated number of candidates passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from common import ROOT
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmdet: mmcv's operators)
import mmdet
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope

from mmmamba.acceleration.fusing import fuse

OURS = ROOT / "configs/mamba_yolo"
PEERS = Path(mmdet.__file__).parent / ".mim/configs"
MODELS_AND_CONFIGS = {
    "mamba_yolo_t": OURS / "mamba_yolo_t_300e_coco.py",
    "mamba_yolo_b": OURS / "mamba_yolo_b_300e_coco.py",
    "mamba_yolo_l": OURS / "mamba_yolo_l_300e_coco.py",
    "mamba_yolo_t_v2": OURS / "mamba_yolo_t_v2_300e_coco.py",
    "yolox_s": PEERS / "yolox/yolox_s_8xb8-300e_coco.py",
    "rtmdet_s": PEERS / "rtmdet/rtmdet_s_8xb32-300e_coco.py",
}
THRESHOLD = 0.001
NMS = dict(type="nms", iou_threshold=0.7)
TEST_CFG = ConfigDict(
    score_thr=THRESHOLD, nms_pre=30000, min_bbox_size=0, multi_label=True, nms=NMS, max_per_img=300
)
SPREAD = 1.5
DISTANCE = (4.0, 0.7)
"""Mean and standard deviation of the distances to a box's sides, in strides."""
OVERLAP = 0.25
"""By how much of their side neighbouring tiles overlap."""


def build(name: str, size: tuple[int, int], device: str) -> nn.Module:
    """The config's detector with random weights.

    By one batch of noise, batch norms fit them.
    """
    cfg = Config.fromfile(MODELS_AND_CONFIGS[name])
    init_default_scope("mmdet")
    cfg.model.backbone.init_cfg = None
    cfg.model.test_cfg = TEST_CFG
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(cfg.model)).to(device)
    for norm in model.modules():
        # Not `nn.BatchNorm2d`: what was a SyncBN is a class of MMEngine's.
        if isinstance(norm, _BatchNorm):
            norm.momentum = None
    x = prepared(model, images(4, *size, device))
    with torch.no_grad():
        model.train()._forward(x)
    return model.eval()


def images(batch: int, height: int, width: int, device: str) -> dict:
    """8-bit images of coarse and fine noise on the device, as a data loader hands them over."""
    # Of fine noise alone all positions look alike further on, and batch norms then enlarge what
    # rounding left of it.
    random = torch.Generator().manual_seed(1)
    coarse = nn.functional.interpolate(
        torch.rand(batch, 3, 9, 9, generator=random), (height, width), mode="bilinear"
    )
    fine = torch.rand(batch, 3, height, width, generator=random)
    pixels = (255 * (0.7 * coarse + 0.3 * fine)).to(device, torch.uint8)
    return batch_of(list(pixels))


def prepared(model: nn.Module, data: dict) -> Tensor:
    return model.data_preprocessor(data, False)["inputs"]


def class_layers(model: nn.Module) -> list[nn.Conv2d]:
    """The last class layer of each level.

    YOLOX's objectness, of which scores are the product, becomes 1.
    """
    head = model.bbox_head
    if hasattr(head, "multi_level_conv_obj"):
        for layer in head.multi_level_conv_obj:
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, 20.0)
        return list(head.multi_level_conv_cls)
    if hasattr(head, "rtm_cls"):
        return list(head.rtm_cls)
    return [branch[-1] for branch in head.cls_preds]


def standardise(layer: nn.Conv2d, outputs: Tensor, mean: float, std: float) -> None:
    """Change a layer that gave these outputs so that it gives such of this mean and deviation."""
    factor = std / outputs.float().std()
    layer.bias.sub_(outputs.float().mean()).mul_(factor).add_(mean)
    layer.weight.mul_(factor)


@torch.no_grad()
def set_candidates(
    model: nn.Module, data: dict, wanted: int, half: Callable[[], torch.autocast]
) -> None:
    """Change the class layers so that on average so many scores of an image pass the threshold.

    Args:
        half: the autocast that the model is timed under.

    Raises:
        SystemExit: an image has fewer scores.
    """
    layers = class_layers(model)
    x = prepared(model, data)

    def forward() -> tuple[list[Tensor], ...]:
        # Entered anew each time: autocast keeps the weights that it cast.
        with half():
            return model._forward(x)

    outputs = forward()
    for layer, logits in zip(layers, outputs[0]):
        standardise(layer, logits, 0.0, SPREAD)
    # Random distances of RTMDet may be negative, and such boxes are dropped.
    strides = [stride for stride, _ in model.bbox_head.prior_generator.strides]
    distance_layers = getattr(model.bbox_head, "rtm_reg", ())
    for layer, distances, stride in zip(distance_layers, outputs[1], strides):
        standardise(layer, distances / stride, *DISTANCE)
    logits_BPC = torch.cat([m.float().flatten(2).transpose(1, 2) for m in forward()[0]], 1)
    # YOLOX takes a cell's best class, the others every class.
    best_class = hasattr(model.bbox_head, "multi_level_conv_obj")
    scores_BN = logits_BPC.amax(2) if best_class else logits_BPC.flatten(1)
    if scores_BN.shape[1] < wanted:
        raise SystemExit(
            f"an image has {scores_BN.shape[1]} scores, fewer than the {wanted} candidates wanted"
        )
    last = scores_BN.flatten().topk(wanted * len(scores_BN)).values[-1]
    shift = torch.logit(torch.tensor(THRESHOLD)) - last
    for layer in layers:
        layer.bias += shift.to(layer.bias)


def forms(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    yield "as built", model
    fused = fuse(model)
    yield "fused", fused
    yield "fused, channels-last", fused.to(memory_format=torch.channels_last)


def tiles(image: Tensor, tile: int) -> dict[tuple[int, int], Tensor]:
    """Squares that overlap by a quarter, by their top and left."""
    step = int(tile * (1 - OVERLAP))
    starts = [sorted({*range(0, side - tile, step), side - tile}) for side in image.shape[1:]]
    return {
        (top, left): image[:, top : top + tile, left : left + tile]
        for top in starts[0]
        for left in starts[1]
    }


def batch_of(inputs: list[Tensor]) -> dict:
    shape = tuple(inputs[0].shape[1:])
    meta = dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0))
    return dict(inputs=inputs, data_samples=[DetDataSample(metainfo=meta) for _ in inputs])
