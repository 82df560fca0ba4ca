"""Detectors and segmentors of shipped configs with narrow backbones, and batches for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

import mmmamba.detection  # noqa: F401  (registers the heads)

from ..narrow import narrow

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = (
    "mask_rcnn/vmamba_t_1x_coco",
    "cascade_mask_rcnn/vmamba_t_1x_coco",
    "retinanet/efficientvmamba_t_1x_coco",
    "yolo/vmamba_t_rtmdet_36e_coco",
    "yolo/vmamba_t_yolox_36e_coco",
    "yolo/vmamba_t_dfl_36e_coco",
    "upernet/vmamba_t_160k_ade20k-512x512",
    "semantic_fpn/mobilemamba_b4_160k_ade20k-512x512",
)
WIDTHS = [8, 16, 32, 64]


def build_whole(name: str, device: str = "cpu") -> nn.Module:
    """The config's model, its backbone narrow, with random weights that find something."""
    cfg = Config.fromfile(CONFIGS / f"{name}.py")
    arch = dict(embed_dims=8, depths=(1, 1, 1, 1))
    necks = cfg.model.get("neck") or []
    necks = necks if isinstance(necks, list) else [necks]
    maps = len(necks[0].in_channels) if necks else 4
    cfg.model.backbone = dict(
        type="VMamba", arch=arch, drop_path_rate=0.2, out_indices=tuple(range(4 - maps, 4))
    )
    if necks:
        necks[0].in_channels = WIDTHS[-maps:]
    else:
        cfg.model.decode_head.in_channels = WIDTHS
        cfg.model.auxiliary_head.in_channels = WIDTHS[2]
    cfg.model.data_preprocessor = None
    narrow(cfg.model)
    if "roi_head" in cfg.model:
        _few_regions(cfg.model)
    if cfg.default_scope == "mmseg":
        import mmseg.models  # noqa: F401  (registers the segmentors)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
    return model.to(device)


def _few_regions(model: Any) -> None:
    """As many regions and channels as a CPU has time for."""
    heads = model.roi_head.bbox_head
    for head in heads if isinstance(heads, list) else [heads]:
        head.fc_out_channels = 16
    stages = model.train_cfg.rcnn
    for stage in stages if isinstance(stages, list) else [stages]:
        stage.sampler.num = 16
    for proposals in (model.train_cfg.rpn_proposal, model.test_cfg.rpn):
        proposals.update(nms_pre=50, max_per_img=20)


def samples(model: nn.Module, x: Tensor) -> list[Any]:
    """A ground truth of each image."""
    size = tuple(x.shape[2:])
    meta = dict(
        img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size, scale_factor=(1, 1)
    )
    if hasattr(model, "decode_head"):
        from mmseg.structures import SegDataSample

        labels = torch.arange(size[0] * size[1]).view(1, *size) // 97 % 19
        found = [SegDataSample(metainfo=meta) for _ in x]
        for sample in found:
            sample.gt_sem_seg = PixelData(data=labels.to(x.device))
        return found
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    found = [DetDataSample(metainfo=meta) for _ in x]
    for sample in found:
        boxes = torch.tensor([[4.0, 4, 40, 50], [20, 10, 60, 60]], device=x.device)
        labels = torch.tensor([1, 3], device=x.device)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
        if hasattr(model, "roi_head"):
            masks = torch.zeros(2, *size, dtype=torch.uint8)
            masks[0, 4:50, 4:40] = masks[1, 10:60, 20:60] = 1
            sample.gt_instances.masks = BitmapMasks(masks.numpy(), *size)
        sample.ignored_instances = InstanceData(bboxes=boxes[:0])
    return found


def losses(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """The losses of a step, by name, each one number."""
    found = model.loss(x, samples(model, x))
    return {
        name: sum(part) if isinstance(part, list) else part
        for name, part in found.items()
        if "loss" in name
    }


def predictions(model: nn.Module, x: Tensor) -> list[Tensor]:
    """All that is predicted of all images."""
    with torch.no_grad():
        found = model.predict(x, samples(model, x))
    tensors: list[Tensor] = []
    for sample in found:
        if hasattr(model, "decode_head"):
            tensors += [sample.seg_logits.data, sample.pred_sem_seg.data]
        else:
            tensors += [x for x in sample.pred_instances.values() if isinstance(x, Tensor)]
    return tensors
