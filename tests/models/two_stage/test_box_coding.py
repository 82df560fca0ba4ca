"""Boxes are coded, compared and judged as mmdet does it, to the last digit."""

import pytest
import torch

import mmmamba  # noqa: F401  # isort: skip  (before mmcv's operators)
from mmdet.models.losses import GIoULoss, L1Loss, SmoothL1Loss
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.structures.bbox import bbox_overlaps

from mmmamba.models.two_stage.box_coding import (
    box_loss,
    clip,
    decode,
    encode,
    image_corners,
    knows_coder,
    overlaps,
)

CODERS = {
    "plain": DeltaXYWHBBoxCoder(),
    "stds": DeltaXYWHBBoxCoder(target_stds=(0.1, 0.1, 0.2, 0.2)),
    "means": DeltaXYWHBBoxCoder((0.1, -0.2, 0.3, 0.0), (0.5, 0.1, 0.2, 0.3)),
}


def boxes(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(*shape, 2, generator=generator) * 300 - 20
    return torch.cat([corner, corner + torch.rand(*shape, 2, generator=generator) * 200], dim=-1)


@pytest.mark.parametrize("coder", CODERS.values(), ids=CODERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_decoding(coder, dtype):
    """Several classes of each prior, clipped to images of two sizes."""
    assert knows_coder(coder)
    priors = boxes(2, 30)
    deltas = (3 * torch.randn(2, 30, 5, 4, generator=torch.Generator().manual_seed(1))).to(dtype)
    metas = [dict(img_shape=(200, 300, 3)), dict(img_shape=(150, 100))]
    found = decode(coder, priors[:, :, None], deltas)
    found = clip(found, image_corners(metas, found.device)[:, None, None])
    for image, meta in enumerate(metas):
        wanted = coder.decode(priors[image], deltas[image].flatten(1), max_shape=meta["img_shape"])
        assert found[image].flatten(1).equal(wanted)


@pytest.mark.parametrize("coder", CODERS.values(), ids=CODERS)
def test_encoding(coder):
    priors, gts = boxes(40), boxes(40, seed=1)
    assert encode(coder, priors, gts).equal(coder.encode(priors, gts))


@pytest.mark.parametrize(
    "coder",
    [DeltaXYWHBBoxCoder(clip_border=False), DeltaXYWHBBoxCoder(add_ctr_clamp=True)],
)
def test_other_coders_are_not_known(coder):
    assert not knows_coder(coder)


def test_overlaps():
    """Boxes that repeat, and such without area, among them."""
    gts, priors = boxes(2, 6), boxes(2, 50, seed=1)
    priors[:, :6] = gts
    priors[:, 7, 2:] = priors[:, 7, :2]
    gts[:, 0, 2:] = gts[:, 0, :2]
    assert overlaps(gts, priors).equal(bbox_overlaps(gts, priors))


@pytest.mark.parametrize(
    "loss", [L1Loss(loss_weight=2.0), SmoothL1Loss(beta=0.5), GIoULoss(loss_weight=10.0)]
)
@pytest.mark.parametrize("some", [True, False])
def test_losses(loss, some):
    given, targets = boxes(30).requires_grad_(), boxes(30, seed=1)
    weights = (torch.arange(30) % 3 == 0) & some
    average = torch.tensor(17)
    wanted = loss(given, targets, weights[:, None].expand(-1, 4).float(), avg_factor=average)
    found = box_loss(loss, given, targets, weights, average)
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad(one, given)[0] for one in (found, wanted)]
    torch.testing.assert_close(*gradients)
