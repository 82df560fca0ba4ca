"""Small two-stage detectors that find something, and what they find compared."""

import copy
from itertools import pairwise

import torch

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmcv's operators)
from mmdet.models.detectors import TwoStageDetector
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from mmmamba.models.two_stage.detections import _paste
from tests.models.two_stage.test_training_step import config, theirs

SIZES = torch.tensor([[96, 128], [70, 101]])
CLASSES = 5
FACTORS = {"_cls.weight": 20, "_reg.weight": 3, "conv_logits.weight": 3}
"""Times weights as they start."""
WIDER = 0.04
"""The same for backbones whose maps have larger numbers."""
VMAMBA = dict(type="VMamba", arch=dict(embed_dims=8, depths=(1, 1, 1, 1)))


@MODELS.register_module()
class FourConvolutions(BaseModule):
    """Four maps from as few operators as can be, for graphs that are soon traced."""

    def __init__(self) -> None:
        super().__init__()
        channels = (3, 8, 16, 32, 64)
        pairs = pairwise(channels)
        self.stages = nn.ModuleList(
            nn.Conv2d(*pair, 3, 4 if index == 0 else 2, padding=1)
            for index, pair in enumerate(pairs)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for stage in self.stages:
            x = stage(x).relu()
            maps.append(x)
        return tuple(maps)


def settings(
    name: str = "mask_rcnn_fpn", backbone: dict | None = None, **test_cfg: object
) -> ConfigDict:
    """A detector's config with a tiny backbone, few classes and few places."""
    model = config(name).model
    model.backbone = ConfigDict(backbone or dict(type="FourConvolutions"))
    heads = model.roi_head
    boxes = heads.bbox_head if isinstance(heads.bbox_head, list) else [heads.bbox_head]
    for part in (*boxes, heads.mask_head):
        part.num_classes = CLASSES
    model.test_cfg.rpn.update(nms_pre=60, max_per_img=40)
    model.test_cfg.rcnn.update(dict(score_thr=0.25, max_per_img=30) | test_cfg)
    return model


def detector(cfg: ConfigDict, own: bool = False) -> TwoStageDetector:
    """With scores that differ, where weights at their start give all about one; `own`: mmdet's."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(copy.deepcopy(theirs(cfg) if own else cfg)).eval()
    # Equal scores, as where all are 1, are in any order for mmdet.
    gain = 1 if cfg.backbone.type == "FourConvolutions" else WIDER
    for name, parameter in model.named_parameters():
        for ending, factor in FACTORS.items():
            if name.endswith(ending):
                parameter.data.mul_(factor * gain)
    return model


def images(batch: int = 2, height: int = 96, width: int = 128) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(2))


def leave_one_empty(model: TwoStageDetector, found: tuple) -> None:
    """Raises the threshold of scores until the second best image has no detection."""
    best = found[1].amax(1).sort(descending=True).values
    model.roi_head.test_cfg.score_thr = float(best[:2].mean())


def check(model: TwoStageDetector, inputs: tuple[Tensor, Tensor], found: tuple) -> list[int]:
    """Outputs of a graph are what the detector itself predicts; how many each image has."""
    samples = []
    for size in inputs[1].tolist():
        meta = dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0))
        samples.append(DetDataSample(metainfo=meta))
    with torch.no_grad():
        wanted = model.predict(inputs[0], samples, rescale=False)
    boxes, scores, labels, *masks = (torch.as_tensor(one) for one in found)
    counts = []
    for image, one in enumerate(wanted):
        theirs, count = one.pred_instances, len(one.pred_instances)
        assert labels[image, :count].equal(theirs.labels)
        assert (labels[image, count:] == -1).all() and not scores[image, count:].any()
        assert not boxes[image, count:].any()
        torch.testing.assert_close(scores[image, :count], theirs.scores, rtol=0, atol=1e-5)
        torch.testing.assert_close(boxes[image, :count], theirs.bboxes, rtol=0, atol=1e-3)
        if masks:
            assert not masks[0][image, count:].any()
            shape = theirs.masks.shape[1:]
            pasted = _paste(masks[0][image, :count], theirs.bboxes, shape, 0.5)
            assert (pasted != theirs.masks).sum() <= 1e-4 * pasted.numel()
        counts.append(count)
    return counts
