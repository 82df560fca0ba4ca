"""The kernel pastes masks as mmdet does by a sampled grid."""

import pytest
import torch

import mmmamba  # noqa: F401  # isort: skip  (before mmcv's operators)
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask

from mmmamba.ops.paste_masks import paste_masks, pastes_masks

from .interpreter import inside

SIZE = (37, 150)


def given(count=9, height=28, width=28):
    """Boxes within and beyond the image, one of it all, and boxes without width or height."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(count, height, width, generator=generator)
    corner = torch.rand(count, 2, generator=generator) * 60 - 20
    boxes = torch.cat([corner, corner + torch.rand(count, 2, generator=generator) * 80], dim=1)
    if count > 3:
        boxes[0] = torch.tensor([0.0, 0, SIZE[1], SIZE[0]])
        # Halves are the middles of pixels.
        boxes[1] = torch.tensor([10.5, 4, 10.5, 20])
        boxes[2] = torch.tensor([10, 8.0, 30, 8])
    return masks, boxes


def check(found, masks, boxes, threshold, size=SIZE):
    """Equal but where a value is the threshold to seven digits."""
    # A mask of 0 and 1 has exact thresholds at its middles; random ones do not.
    wanted, _ = _do_paste_mask(masks[:, None], boxes, *size, skip_empty=False)
    assert found.dtype == torch.bool and found.shape == wanted.shape
    differs = found != (wanted >= threshold)
    assert not (differs & ((wanted - threshold).abs() > 1e-6)).any()
    assert differs.sum() <= 1e-5 * differs.numel()


@inside
@pytest.mark.parametrize("threshold", [0.5, 0.2])
@pytest.mark.parametrize(("count", "height", "width"), [(5, 28, 28), (2, 7, 14), (0, 28, 28)])
def test_the_kernel_pastes_the_same(monkeypatch, threshold, count, height, width):
    from mmmamba.ops.kernels.paste_masks import paste
    from tests.ops.interpreter_memory import check_addresses

    check_addresses(monkeypatch)
    masks, boxes = given(count, height, width)
    found = paste(masks, boxes, SIZE, threshold)
    if count:
        check(found, masks, boxes, threshold)
    assert found.shape == (count, *SIZE)


def test_masks_on_a_cpu_are_left_to_mmdet():
    assert not pastes_masks(torch.zeros(1, 28, 28))


@pytest.mark.gpu
@pytest.mark.parametrize("threshold", [0.5, 0.2])
def test_on_a_gpu(threshold):
    masks, boxes = (one.cuda() for one in given(100))
    boxes, size = boxes * 8, (800, 1333)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = paste_masks(masks, boxes, size, threshold)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    check(found, masks, boxes, threshold, size)
