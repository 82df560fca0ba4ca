"""SUM as a whole, a segmentor of mmseg's that gives saliency in the place of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS as ALL_MODELS
from mmengine.structures import PixelData
from mmseg.models import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmmamba.checkpoints.strict_loading import StrictLoading
from mmmamba.errors import UsageError

from .conditions import condition_index
from .encoder import fits
from .key_maps import SUM_KEY_MAP

Samples = Sequence[SegDataSample]


@ALL_MODELS.register_module()
class SUM(StrictLoading, BaseSegmentor):
    """From images to saliency maps, by the condition of each image.

    `init_cfg=dict(type="Pretrained", checkpoint="sum_model.pth")` loads the authors' file whole.
    Predictions are samples with `pred_saliency`, a `PixelData` of `(1, H, W)` from 0 to 1 at the
    size of the image's file.

    Args:
        backbone: `SUMEncoder`.
        decode_head: `SUMDecoder`.
        loss: `SaliencyLoss`.
        condition: the kind of the images that do not say theirs (`condition` among what a sample
            says of itself), by number or name.
        size: height and width that images are brought to in prediction, without regard to their
            proportions, if theirs are not what the network takes.
        data_preprocessor, init_cfg: as mmseg's.

    Raises:
        UsageError: an unknown condition, or a size that the network does not take.
    """

    KEY_MAP = SUM_KEY_MAP
    task = "saliency"

    def __init__(
        self,
        backbone: Mapping[str, Any],
        decode_head: Mapping[str, Any],
        loss: Mapping[str, Any],
        condition: int | str = "natural_mouse",
        size: tuple[int, int] = (256, 256),
        data_preprocessor: Mapping[str, Any] | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if not all(map(fits, size)):
            raise UsageError(f"size of SUM is {tuple(size)}, wanted multiples of 32")
        self.backbone = MODELS.build(backbone)
        self.decode_head = MODELS.build(decode_head)
        self.loss_saliency = MODELS.build(loss)
        self.size = tuple(size)
        self.condition = condition_index(condition, self.decode_head.conditions)

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The encoder's maps."""
        return self.backbone(inputs)

    def encode_decode(self, inputs: Tensor, batch_img_metas: Sequence[Mapping]) -> Tensor:
        """Logits `(B, 1, H, W)` at the size of the images `(B, 3, H, W)`."""
        condition_B = self._conditions(batch_img_metas, inputs.device)
        logits_B1HW = self.decode_head(self.extract_feat(inputs), condition_B)
        return resized(logits_B1HW, tuple(inputs.shape[2:]))

    def loss(self, inputs: Tensor, data_samples: Samples) -> dict[str, Tensor]:
        """The terms of the loss; samples have `gt_saliency` and may have `gt_fixation`.

        Raises:
            UsageError: a sample without a saliency map, or without the fixations that a term needs.
        """
        logits_B1HW = self.encode_decode(inputs, [sample.metainfo for sample in data_samples])
        map_BHW = _stacked(data_samples, "gt_saliency")
        if map_BHW is None:
            raise UsageError(
                "samples have no saliency maps (gt_saliency): the pipeline wants "
                "dict(type='LoadSaliencyAnnotations') and, at its end, "
                "dict(type='PackSaliencyInputs')"
            )
        needs = self.loss_saliency.needs_fixations
        fixation_BHW = _stacked(data_samples, "gt_fixation") if needs else None
        return self.loss_saliency(logits_B1HW[:, 0], map_BHW, fixation_BHW)

    def predict(self, inputs: Tensor, data_samples: Samples | None = None) -> list[SegDataSample]:
        """The samples, each with `pred_saliency`."""
        samples = [SegDataSample() for _ in inputs] if data_samples is None else list(data_samples)
        metas = [sample.metainfo for sample in samples]
        size = tuple(inputs.shape[2:])
        taken = inputs if all(map(fits, size)) else resized(inputs, self.size)
        logits_B1HW = self.encode_decode(taken, metas)
        for sample, map_1HW in zip(samples, self.predict_by_feat(logits_B1HW, metas, size)):
            sample.set_data(dict(pred_saliency=PixelData(data=map_1HW)))
        return samples

    def predict_by_feat(
        self, logits_B1HW: Tensor, batch_img_metas: Sequence[Mapping], size: tuple[int, int]
    ) -> list[Tensor]:
        """A map `(1, H, W)` from 0 to 1 for each image, at the size of its file.

        Args:
            size: of the batch, with padding.
        """
        found = []
        for map_1HW, meta in zip(resized(logits_B1HW.sigmoid(), size), batch_img_metas):
            found.append(original(map_1HW, meta))
        return found

    def _forward(self, inputs: Tensor, data_samples: Samples | None = None) -> Tensor:
        return self.encode_decode(inputs, _metas(data_samples, inputs))

    def _conditions(self, metas: Sequence[Mapping], device: torch.device) -> Tensor:
        """The condition of each image by number."""
        names = self.decode_head.conditions
        found = [condition_index(meta.get("condition", self.condition), names) for meta in metas]
        return torch.tensor(found, device=device)


def resized(x_BCHW: Tensor, size: tuple[int, ...]) -> Tensor:
    """A map at another size, linear between its pixels."""
    if tuple(x_BCHW.shape[2:]) == tuple(size):
        return x_BCHW
    return F.interpolate(x_BCHW, size, mode="bilinear", align_corners=False)


def original(map_1HW: Tensor, meta: Mapping[str, Any]) -> Tensor:
    """A map without padding, turned back and at the size of the file, as a sample says them."""
    left, right, top, bottom = meta.get("img_padding_size", meta.get("padding_size", (0,) * 4))
    height, width = map_1HW.shape[1:]
    map_1HW = map_1HW[:, top : height - bottom, left : width - right]
    if meta.get("flip"):
        map_1HW = map_1HW.flip(2 if meta["flip_direction"] == "horizontal" else 1)
    size = tuple(meta.get("ori_shape", map_1HW.shape[1:]))[:2]
    return resized(map_1HW[None], size)[0]


def _metas(samples: Samples | None, inputs: Tensor) -> list[Mapping[str, Any]]:
    """What each sample says of itself."""
    return [{} for _ in inputs] if samples is None else [sample.metainfo for sample in samples]


def _stacked(samples: Samples, name: str) -> Tensor | None:
    """A field of all samples, `(B, H, W)`; None where one of them lacks it."""
    if not all(name in sample for sample in samples):
        return None
    return torch.cat([sample.get(name).data for sample in samples])
