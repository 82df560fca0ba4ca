"""Segmentors as functions of tensors."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.utils import Upsample, resize
from torch import Tensor, nn

from mmmamba.errors import UsageError

from .base import Graph

STEPS = (
    "predict",
    "inference",
    "whole_inference",
    "slide_inference",
    "encode_decode",
    "extract_feat",
)
"""Methods in which an `EncoderDecoder` predicts."""


class SegmentorGraph(Graph):
    """From images to the class of each pixel, `labels` `(B, H, W)` at the size of the images.

    Auxiliary heads have no part in it.

    Args:
        segmentor: mmseg's, with one decode head.
        logits: give `logits` `(B, C, H, W)` instead, as `encode_decode` does.

    Raises:
        UsageError: the segmentor or its head predicts in a way that is not known.
    """

    task: ClassVar[str] = "segmentation"

    def __init__(self, segmentor: EncoderDecoder, logits: bool = False):
        super().__init__()
        _check(segmentor)
        self.backbone = segmentor.backbone
        self.neck = segmentor.neck if segmentor.with_neck else nn.Identity()
        self.decode_head = _sized_by_symbols(segmentor.decode_head)
        self.crop = _crop(segmentor)
        self._logits = logits
        self._align_corners = segmentor.align_corners
        self._threshold = segmentor.decode_head.threshold
        self.output_names = ("logits",) if logits else ("labels",)

    def check_size(self, size: tuple[int, int] | None) -> None:
        """Refuse a size (height, width; None: any) at which `predict` looks at several windows."""
        if self.crop is None:
            return
        if size is None or size[0] > self.crop[0] or size[1] > self.crop[1]:
            height, width = self.crop
            found = "any size" if size is None else f"{size[0]} x {size[1]} pixels"
            raise UsageError(
                "This segmentor slides a window over images (test_cfg.mode='slide', "
                f"crop_size={self.crop}), which a graph for {found} does not. Export it at the "
                f"size of the window (--size {height} {width}), or as it sees whole images "
                "(--cfg-options model.test_cfg.mode=whole)."
            )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        (images,) = inputs
        height, width = images.shape[-2:]
        known = isinstance(height, int) and isinstance(width, int)
        self.check_size((height, width) if known else None)
        with _without_advice():
            logits_BCHW = self.decode_head(self.neck(self.backbone(images)))
        logits_BCHW = F.interpolate(
            logits_BCHW,
            size=(height, width),
            mode="bilinear",
            align_corners=self._align_corners,
        )
        if self._logits:
            return (logits_BCHW,)
        if logits_BCHW.shape[1] > 1:
            return (logits_BCHW.argmax(1),)
        return ((logits_BCHW.sigmoid() > self._threshold)[:, 0].long(),)


class _Upsample(nn.Module):
    """mmseg's `Upsample` by a factor, which makes numbers of sizes while it is traced."""

    def __init__(self, original: Upsample):
        super().__init__()
        factor = original.scale_factor
        self.factors = factor if isinstance(factor, tuple) else (factor, factor)
        self.mode, self.align_corners = original.mode, original.align_corners

    def forward(self, x: Tensor) -> Tensor:
        size = [int(factor) * side for factor, side in zip(self.factors, x.shape[-2:])]
        return F.interpolate(x, size=size, mode=self.mode, align_corners=self.align_corners)


def _sized_by_symbols(module: nn.Module) -> nn.Module:
    """The module, with the same parameters, whose sizes may be symbols.

    What has no part that needs it is not copied.
    """
    if isinstance(module, Upsample):
        whole = module.scale_factor is not None and all(
            float(factor).is_integer() for factor in _pair(module.scale_factor)
        )
        return _Upsample(module) if whole and not module.size else module
    before = {name: child for name, child in module._modules.items() if child is not None}
    after = {name: _sized_by_symbols(child) for name, child in before.items()}
    if all(after[name] is child for name, child in before.items()):
        return module
    twin = copy.copy(module)
    twin._modules = {**module._modules, **after}
    return twin


def _pair(factor: float | tuple[float, float]) -> tuple[float, float]:
    return factor if isinstance(factor, tuple) else (factor, factor)


@contextmanager
def _without_advice() -> Iterator[None]:
    """Without mmseg's advice on sizes for `align_corners`, which makes numbers of them."""
    kept = resize.__defaults__
    resize.__defaults__ = (*kept[:-1], False)
    try:
        yield
    finally:
        resize.__defaults__ = kept


def _check(segmentor: EncoderDecoder) -> None:
    kind, head = type(segmentor), segmentor.decode_head
    own = [name for name in STEPS if getattr(kind, name) is not getattr(EncoderDecoder, name)]
    if own:
        raise UsageError(
            f"{kind.__name__} cannot be exported: its {' and '.join(own)} is its own, wanted that "
            "of mmseg's EncoderDecoder"
        )
    plain = isinstance(head, BaseDecodeHead) and (
        type(head).predict is BaseDecodeHead.predict
        and type(head).predict_by_feat is BaseDecodeHead.predict_by_feat
    )
    if not plain:
        raise UsageError(
            f"{type(head).__name__} cannot be exported: it predicts in a way of its own. Known are "
            "UPerHead, FPNHead and other heads that predict as mmseg's BaseDecodeHead."
        )


def _crop(segmentor: EncoderDecoder) -> tuple[int, int] | None:
    """Height and width of the window that slides over images, if one does."""
    cfg = segmentor.test_cfg or {}
    return tuple(cfg["crop_size"]) if cfg.get("mode") == "slide" else None
