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
    ax1, ay1, ax2, ay2 = a.unbind(-1)
    bx1, by1, bx2, by2 = b.unbind(-1)
    # The heights alone get eps: the aspect ratio divides by them.
    aw, ah = ax2 - ax1, ay2 - ay1 + eps
    bw, bh = bx2 - bx1, by2 - by1 + eps
    shared_w = (torch.min(ax2, bx2) - torch.max(ax1, bx1)).clamp(min=0)
    shared_h = (torch.min(ay2, by2) - torch.max(ay1, by1)).clamp(min=0)
    overlap = shared_w * shared_h
    iou = overlap / (aw * ah + bw * bh - overlap + eps)
    # Of the box around both, squared.
    around_w = torch.max(ax2, bx2) - torch.min(ax1, bx1)
    around_h = torch.max(ay2, by2) - torch.min(ay1, by1)
    diagonal = around_w**2 + around_h**2 + eps
    # Of the centres, squared: each is half the sum of two corners.
    distance = ((bx1 + bx2 - ax1 - ax2) ** 2 + (by1 + by2 - ay1 - ay2) ** 2) / 4
    v = 4 / math.pi**2 * (torch.atan(bw / bh) - torch.atan(aw / ah)) ** 2
    # A weight of v, not a way for the gradient.
    alpha = (v / (v - iou + 1 + eps)).detach()
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
