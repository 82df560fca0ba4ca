"""Losses of mmseg's heads that a GPU does not wait in, and Python does not wait for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmmamba.ops.resize import resize_bilinear


def quick_losses(model: nn.Module) -> list[nn.Module]:
    """Have mmseg's heads take their losses from logits in less time; the losses are the same.

    mmseg sorts the classes of every pixel to count the right ones, reads back how many pixels there
    are, and enlarges logits with a slow backward pass: two fifths of the GPU's time in a step of
    UperNet with MambaVision-B. Heads that compute their losses in a way of their own, or draw
    pixels, stay as they are.

    Returns:
        The heads that were changed; `slow_losses` undoes it.
    """
    # Where nobody has imported it there is no head of it.
    decode_head = sys.modules.get("mmseg.models.decode_heads.decode_head")
    if decode_head is None:
        return []
    base = decode_head.BaseDecodeHead
    changed = []
    for head in model.modules():
        plain = isinstance(head, base) and type(head).loss_by_feat is base.loss_by_feat
        if plain and head.sampler is None:
            head.loss_by_feat = partial(_losses, head)
            changed.append(head)
    return changed


def slow_losses(heads: Sequence[nn.Module]) -> None:
    """Undo `quick_losses`."""
    for head in heads:
        head.__dict__.pop("loss_by_feat", None)


def _losses(head: Any, seg_logits: Tensor, batch_data_samples: list) -> dict[str, Tensor]:
    """Losses by name, and the part of pixels that are right, in percent."""
    labels_N1YX = head._stack_batch_gt(batch_data_samples)
    logits_NCYX = resize_bilinear(seg_logits, labels_N1YX.shape[2:], head.align_corners)
    labels_NYX = labels_N1YX.squeeze(1)
    one_or_more = head.loss_decode
    found: dict[str, Tensor] = {}
    for loss in one_or_more if isinstance(one_or_more, nn.ModuleList) else [one_or_more]:
        value = loss(logits_NCYX, labels_NYX, weight=None, ignore_index=head.ignore_index)
        # Losses of one name are one.
        found[loss.loss_name] = found[loss.loss_name] + value if loss.loss_name in found else value
    found["acc_seg"] = percent_right(logits_NCYX.detach(), labels_NYX, head.ignore_index)
    return found


def percent_right(logits_NCYX: Tensor, labels_NYX: Tensor, ignore_index: int | None) -> Tensor:
    """The part of the pixels with a label whose largest logit is the label's, in percent, `(1,)`.

    It is 100 where there is none, as in mmseg.
    """
    right = logits_NCYX.argmax(1) == labels_NYX
    known = torch.ones_like(right) if ignore_index is None else labels_NYX != ignore_index
    tiny = torch.finfo(torch.float32).eps
    return (100 * ((right & known).sum() + tiny) / (known.sum() + tiny)).reshape(1)
