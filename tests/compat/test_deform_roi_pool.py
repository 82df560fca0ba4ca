"""Deformable RoI pooling against a loop over bins and points."""

import math
from functools import partial

import pytest
import torch
from mmcv.ops import DeformRoIPool, ModulatedDeformRoIPoolPack, RoIAlign, deform_roi_pool
from torch.autograd import gradcheck

from mmmamba.compat import compiled_extension

from .test_roi import ROIS, bilinear, feature_map, value_and_gradient

pytestmark = pytest.mark.skipif(
    compiled_extension() is not None, reason="mmcv has its compiled operators"
)

SIZE, SCALE, GAMMA = (2, 3), 0.5, 0.3


def offsets(rois: torch.Tensor = ROIS, spread: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(len(rois), 2, *SIZE, dtype=torch.float64, generator=generator) * spread


def points_of_a_bin(roi, move, p, q, ratio):
    """(y, x) of the points of bin (p, q), whose (dx, dy) is `move`."""
    x1, y1, x2, y2 = (c * SCALE - 0.5 for c in roi)
    bin_h, bin_w = (y2 - y1) / SIZE[0], (x2 - x1) / SIZE[1]
    rows, columns = ratio or math.ceil(bin_h), ratio or math.ceil(bin_w)
    top = y1 + p * bin_h + GAMMA * (y2 - y1) * move[1]
    left = x1 + q * bin_w + GAMMA * (x2 - x1) * move[0]
    return [
        (top + (i + 0.5) * bin_h / rows, left + (j + 0.5) * bin_w / columns)
        for i in range(rows)
        for j in range(columns)
    ]


def plain_pool(x_BCHW, rois_R5, offset, ratio):
    outputs = []
    for r, (image, *roi) in enumerate(rois_R5.tolist()):
        for p in range(SIZE[0]):
            for q in range(SIZE[1]):
                points = points_of_a_bin(roi, offset[r, :, p, q].tolist(), p, q, ratio)
                values = [bilinear(x_BCHW[int(image)], y, x) for y, x in points]
                outputs.append(sum(values) / max(len(values), 1) + 0 * x_BCHW[0, :, 0, 0])
    return torch.stack(outputs).view(len(rois_R5), *SIZE, -1).permute(0, 3, 1, 2)


def plain_offset_gradient(x_BCHW, rois_R5, offset, ratio, grad):
    """Slopes of the cell whose corner is floor(point), held within the map at its upper left."""
    height, width = x_BCHW.shape[2:]
    result = torch.zeros_like(offset)
    for r, (image, *roi) in enumerate(rois_R5.tolist()):
        reach = (roi[2] - roi[0]) * SCALE * GAMMA, (roi[3] - roi[1]) * SCALE * GAMMA
        for p in range(SIZE[0]):
            for q in range(SIZE[1]):
                points = points_of_a_bin(roi, offset[r, :, p, q].tolist(), p, q, ratio)
                for y, x in points:
                    top, left = max(math.floor(y), 0), max(math.floor(x), 0)
                    if y < -1 or x < -1 or top > height - 2 or left > width - 2:
                        continue
                    plane = (x_BCHW[int(image)] * grad[r, :, p, q, None, None]).sum(dim=0)
                    (a, b), (c, d) = plane[top : top + 2, left : left + 2].tolist()
                    slope_x = (top + 1 - y) * (b - a) + (y - top) * (d - c)
                    slope_y = (left + 1 - x) * (c - a) + (x - left) * (d - b)
                    result[r, 0, p, q] += reach[0] * slope_x / len(points)
                    result[r, 1, p, q] += reach[1] * slope_y / len(points)
    return result


@pytest.mark.parametrize("ratio", [0, 2])
def test_values_and_gradients(ratio, device):
    x, offset = feature_map(), offsets()
    found_x, found_offset = (t.to(device).requires_grad_() for t in (x, offset))
    found = deform_roi_pool(found_x, ROIS.to(device), found_offset, SIZE, SCALE, ratio, GAMMA)
    wanted, wanted_grad = value_and_gradient(lambda x: plain_pool(x, ROIS, offset, ratio), x)
    torch.testing.assert_close(found.cpu(), wanted)
    weight = torch.linspace(-1, 1, found.numel(), dtype=x.dtype).view(found.shape)
    found.backward(weight.to(device))
    torch.testing.assert_close(found_x.grad.cpu(), wanted_grad)
    slopes = plain_offset_gradient(x, ROIS, offset, ratio, weight)
    assert slopes.abs().sum() > 1
    torch.testing.assert_close(found_offset.grad.cpu(), slopes)


def test_gradcheck_inside_the_map():
    rois = torch.tensor([[0, 4, 4, 12, 10], [1, 3, 3, 9, 11]], dtype=torch.float64)
    x, offset = feature_map().requires_grad_(), offsets(rois, 0.3).requires_grad_()
    assert gradcheck(lambda x, o: deform_roi_pool(x, rois, o, SIZE, SCALE, 2, GAMMA), (x, offset))


@pytest.mark.parametrize("ratio", [0, 2])
def test_without_offsets_it_is_roi_align(ratio):
    layers = DeformRoIPool(SIZE, SCALE, ratio), RoIAlign(SIZE, SCALE, ratio)
    found, wanted = (
        value_and_gradient(partial(layer, rois=ROIS), feature_map()) for layer in layers
    )
    torch.testing.assert_close(found, wanted)


def test_no_regions():
    x, offset = feature_map().requires_grad_(), offsets(ROIS[:0]).requires_grad_()
    y = deform_roi_pool(x, ROIS[:0], offset, SIZE, SCALE, 0, GAMMA)
    assert y.shape == (0, 3, *SIZE)
    assert torch.autograd.grad(y.sum(), x)[0].abs().sum() == 0


def test_many_regions_are_read_in_chunks(monkeypatch):
    rois, offset = ROIS.repeat(7, 1), offsets().repeat(7, 1, 1, 1)

    def run():
        x, o = feature_map().requires_grad_(), offset.clone().requires_grad_()
        y = deform_roi_pool(x, rois, o, SIZE, SCALE, 2, GAMMA)
        return y, *torch.autograd.grad(y.square().sum(), (x, o))

    whole = run()
    monkeypatch.setattr("mmmamba.compat.ext.sampling.MAX_VALUES", 1)
    torch.testing.assert_close(run(), whole)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_close(dtype, device):
    half = [t.to(device, dtype).requires_grad_() for t in (feature_map(), offsets())]
    full = [t.detach().float().requires_grad_() for t in half]
    results = []
    for x, offset in (half, full):
        y = deform_roi_pool(x, ROIS.to(x), offset, SIZE, SCALE, 2, GAMMA)
        results.append([y, *torch.autograd.grad(y.sum(), (x, offset))])
    for narrow, wide in zip(*results):
        assert narrow.dtype == dtype
        largest = float(wide.detach().abs().max())
        torch.testing.assert_close(narrow.float(), wide, rtol=5e-2, atol=0.05 * largest)


def test_the_modulated_pack_learns_offsets_and_masks():
    torch.manual_seed(0)
    pack = ModulatedDeformRoIPoolPack(SIZE, 3, 8, SCALE).double()
    pack(feature_map(), ROIS).square().sum().backward()
    for layer in (pack.offset_fc[-1], pack.mask_fc[2]):
        assert layer.weight.grad.abs().sum() > 0
