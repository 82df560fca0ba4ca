"""roi_align and roi_pool against loops over bins."""

import math

import pytest
import torch
from mmcv.ops import RoIAlign, RoIPool, roi_align, roi_pool

from mmmamba.compat import compiled_extension

pytestmark = pytest.mark.skipif(
    compiled_extension() is not None, reason="mmcv has its compiled operators"
)

# Inside, over the border, tiny, reversed order of images, wholly outside.
ROIS = torch.tensor(
    [
        [0, 1.3, 2.1, 11.7, 9.2],
        [1, -4, -3, 9, 20],
        [1, 5, 5, 5.4, 5.3],
        [0, 0, 0, 17.9, 15.1],
        [1, 60, 60, 70, 70],
    ],
    dtype=torch.float64,
)


def feature_map() -> torch.Tensor:
    return torch.randn(2, 3, 8, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def bilinear(plane_CHW: torch.Tensor, y: float, x: float) -> torch.Tensor:
    height, width = plane_CHW.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return plane_CHW.new_zeros(len(plane_CHW)) * plane_CHW.sum()
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    v, u = y - top, x - left
    upper = (1 - u) * plane_CHW[:, top, left] + u * plane_CHW[:, top, right]
    lower = (1 - u) * plane_CHW[:, bottom, left] + u * plane_CHW[:, bottom, right]
    return (1 - v) * upper + v * lower


def plain_roi_align(x_BCHW, rois_R5, size, scale, ratio, mode, aligned):
    outputs = []
    for image, *corners in rois_R5.tolist():
        x1, y1, x2, y2 = (c * scale - (0.5 if aligned else 0) for c in corners)
        width, height = x2 - x1, y2 - y1
        if not aligned:
            width, height = max(width, 1), max(height, 1)
        bin_h, bin_w = height / size[0], width / size[1]
        rows, columns = ratio or math.ceil(bin_h), ratio or math.ceil(bin_w)
        for p in range(size[0]):
            for q in range(size[1]):
                points = [
                    bilinear(
                        x_BCHW[int(image)],
                        y1 + (p + (i + 0.5) / rows) * bin_h,
                        x1 + (q + (j + 0.5) / columns) * bin_w,
                    )
                    for i in range(rows)
                    for j in range(columns)
                ]
                stacked = torch.stack(points)
                outputs.append(stacked.mean(dim=0) if mode == "avg" else stacked.amax(dim=0))
    return torch.stack(outputs).view(len(rois_R5), *size, -1).permute(0, 3, 1, 2)


def plain_roi_pool(x_BCHW, rois_R5, size, scale):
    outputs = []
    for image, x1, y1, x2, y2 in rois_R5.tolist():
        x1, y1, x2, y2 = x1 * scale, y1 * scale, (x2 + 1) * scale, (y2 + 1) * scale
        bin_h, bin_w = (y2 - y1) / size[0], (x2 - x1) / size[1]
        for p in range(size[0]):
            for q in range(size[1]):
                top, bottom = math.floor(y1 + p * bin_h), math.ceil(y1 + (p + 1) * bin_h)
                left, right = math.floor(x1 + q * bin_w), math.ceil(x1 + (q + 1) * bin_w)
                cells = x_BCHW[
                    int(image), :, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)
                ].flatten(1)
                outputs.append(cells.amax(dim=1) if cells.shape[1] else cells.sum(dim=1))
    return torch.stack(outputs).view(len(rois_R5), *size, -1).permute(0, 3, 1, 2)


def value_and_gradient(function, x: torch.Tensor):
    x = x.clone().requires_grad_()
    y = function(x)
    weight = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).to(y.dtype).view(y.shape)
    return y.detach(), torch.autograd.grad((y * weight).sum(), x)[0]


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_roi_align_and_its_gradient(mode, ratio, aligned):
    args = (ROIS, (2, 3), 0.5, ratio, mode, aligned)
    found = value_and_gradient(lambda x: roi_align(x, *args), feature_map())
    wanted = value_and_gradient(lambda x: plain_roi_align(x, *args), feature_map())
    torch.testing.assert_close(found[0], wanted[0])
    torch.testing.assert_close(found[1], wanted[1])


@pytest.mark.parametrize("scale", [0.5, 0.3])
def test_roi_pool_and_its_gradient(scale):
    found = value_and_gradient(lambda x: roi_pool(x, ROIS, (2, 3), scale), feature_map())
    wanted = value_and_gradient(lambda x: plain_roi_pool(x, ROIS, (2, 3), scale), feature_map())
    torch.testing.assert_close(found[0], wanted[0])
    torch.testing.assert_close(found[1], wanted[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layer", [RoIAlign(3, 0.5), RoIPool(3, 0.5)], ids=["align", "pool"])
def test_half_precision_is_close(layer, dtype):
    x, rois = feature_map().to(dtype), ROIS.to(dtype)
    found = value_and_gradient(lambda x: layer(x, rois), x)
    wanted = value_and_gradient(lambda x: layer(x, rois.float()), x.float())
    assert found[0].dtype == found[1].dtype == dtype
    for half, full in zip(found, wanted):
        torch.testing.assert_close(half.float(), full, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_roi_align_max_and_avg_in_half_precision_have_gradients(mode):
    x = feature_map().to(torch.bfloat16)
    _, grad = value_and_gradient(lambda x: RoIAlign(3, 0.5, pool_mode=mode)(x, ROIS.to(x)), x)
    assert grad.dtype == torch.bfloat16 and grad.abs().sum() > 0 and torch.isfinite(grad).all()


@pytest.mark.parametrize(
    "layer",
    [RoIAlign(3, 0.5), RoIAlign(3, 0.5, pool_mode="max"), RoIPool(3, 0.5)],
    ids=["avg", "max", "pool"],
)
def test_no_regions(layer):
    y, grad = value_and_gradient(lambda x: layer(x, x.new_zeros(0, 5)), feature_map())
    assert y.shape == (0, 3, 3, 3)
    assert grad.abs().sum() == 0


def test_many_regions_are_read_in_chunks(monkeypatch):
    layer, rois = RoIAlign(2, 0.5, pool_mode="max"), ROIS.repeat(7, 1)
    whole = value_and_gradient(lambda x: layer(x, rois), feature_map())
    monkeypatch.setattr("mmmamba.compat.ext.sampling.MAX_VALUES", 1)
    pieces = value_and_gradient(lambda x: layer(x, rois), feature_map())
    assert torch.equal(whole[0], pieces[0]) and torch.equal(whole[1], pieces[1])


@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
def test_deterministic_roi_align_has_the_gradients_of_the_fast_one(ratio, aligned):
    x, point = feature_map(), torch.tensor([[1, 4, 4, 4, 4]], dtype=torch.float64)
    rois = torch.cat([ROIS, point])
    weight_RCPQ = torch.randn(
        len(rois), 3, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )

    def gradient():
        leaf = x.clone().requires_grad_()
        (roi_align(leaf, rois, (3, 4), 0.5, ratio, "avg", aligned) * weight_RCPQ).sum().backward()
        return leaf.grad

    fast = gradient()
    torch.use_deterministic_algorithms(True)
    try:
        slow = gradient()
    finally:
        torch.use_deterministic_algorithms(False)
    assert fast.abs().max() > 0.1 and not torch.equal(fast, slow)
    torch.testing.assert_close(slow, fast, rtol=0, atol=1e-12)
