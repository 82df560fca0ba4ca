"""How far a box is off: complete IoU (arXiv 2005.03572, equation 11) as YOLO detectors have it."""

import math

import torch
from mmdet.models.losses import CIoULoss, weighted_loss
from mmengine.registry import MODELS
from torch import Tensor


def ciou(a: Tensor, b: Tensor, eps: float = 1e-7) -> Tensor:
    """CIoU of boxes `(..., 4)` as corners, whose leading axes broadcast.

    The aspect ratio counts at every overlap; mmdet's `CIoULoss` leaves it out where the IoU is 0.5
    or less, and clamps.
    """
    first_a, last_a = a.split(2, dim=-1)
    first_b, last_b = b.split(2, dim=-1)
    # The heights alone get eps: the aspect ratio divides by them.
    aw, ah = (last_a - first_a).unbind(-1)
    bw, bh = (last_b - first_b).unbind(-1)
    ah, bh = ah + eps, bh + eps
    shared_w, shared_h = (last_a.min(last_b) - first_a.max(first_b)).clamp(min=0).unbind(-1)
    overlap = shared_w * shared_h
    iou = overlap / (aw * ah + bw * bh - overlap + eps)
    # Of the box around both, squared.
    diagonal = (last_a.max(last_b) - first_a.min(first_b)).square().sum(-1) + eps
    # Of the centres, squared: each is half the sum of two corners.
    distance = (first_b + last_b - first_a - last_a).square().sum(-1) / 4
    v = 4 / math.pi**2 * (torch.atan(bw / bh) - torch.atan(aw / ah)).square()
    # A weight of v, not a way for the gradient.
    alpha = v.detach() / (v.detach() - iou.detach() + (1 + eps))
    return iou - distance / diagonal - alpha * v


@weighted_loss
def ciou_loss(pred: Tensor, target: Tensor, eps: float = 1e-7) -> Tensor:
    """`1 - ciou` of each pair; `weighted_loss` adds weights and reduction."""
    return 1 - ciou(pred, target, eps)


@MODELS.register_module()
class UnclampedCIoULoss(CIoULoss):
    """mmdet's `CIoULoss` with `ciou`: between boxes `(N, 4)` as corners."""

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        return self.loss_weight * ciou_loss(
            pred,
            target,
            weight,
            eps=self.eps,
            reduction=reduction_override or self.reduction,
            avg_factor=avg_factor,
        )
