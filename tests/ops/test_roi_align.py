"""One kernel pools regions of several maps as torchvision's RoIAlign pools those of each."""

import pytest
import torch
from torchvision.ops import roi_align

from mmmamba.ops.roi_align import pools_pyramid, pyramid_roi_align

from .interpreter import inside

SCALES = (1 / 4, 1 / 8, 1 / 16, 1 / 32)


def maps(levels, size, channels=5, dtype=torch.float32):
    torch.manual_seed(0)
    return [
        torch.randn(2, channels, round(size * scale), round(0.75 * size * scale), dtype=dtype)
        for scale in SCALES[:levels]
    ]


def regions(count, size, levels):
    """Small and large ones, some beyond the image, of whole bins, without area or upside down."""
    generator = torch.Generator().manual_seed(1)
    corner = torch.rand(count, 2, generator=generator) * size * 0.8 - size * 0.1
    extent = torch.rand(count, 2, generator=generator) ** 2 * size * 0.7
    rois = torch.cat([torch.arange(count)[:, None] % 2, corner, corner + extent], dim=1).float()
    if count > 3:
        rois[0, 1:] = torch.tensor([8.0, 8, 8 + 32, 8 + 48])
        rois[1, 3:] = rois[1, 1:3]
        rois[2, 3:] = rois[2, 1:3] - 8
        rois[3, 1:] = torch.tensor([-3.0 * size, -2.0 * size, -2.0 * size, -size])
    return rois, torch.arange(count) % levels


def wanted(levels, rois, number, size):
    parts = [
        roi_align(one, rois, size, scale, 0, True) * (number == level)[:, None, None, None]
        for level, (one, scale) in enumerate(zip(levels, SCALES))
    ]
    return sum(parts)


def compare(device, run, levels, count, size, bins, tolerance):
    """Features and the gradients of all maps."""
    rois, number = (one.to(device) for one in regions(count, size, levels))
    given = [one.to(device).requires_grad_() for one in maps(levels, size)]
    want = wanted(given, rois, number, bins)
    grad = torch.randn(want.shape, generator=torch.Generator().manual_seed(2)).to(device)
    got, gradients = run([one.detach() for one in given], rois, number, bins, grad)
    torch.testing.assert_close(got, want, atol=tolerance, rtol=tolerance)
    for ours, theirs in zip(gradients, torch.autograd.grad(want, given, grad), strict=True):
        torch.testing.assert_close(ours, theirs, atol=5 * tolerance, rtol=tolerance)


def in_the_interpreter(given, rois, number, size, grad):
    from mmmamba.ops.kernels.roi_align import backward, forward

    given = [one.contiguous(memory_format=torch.channels_last) for one in given]
    out = forward(given, rois, number, size, SCALES)
    return out, backward(grad, [one.shape for one in given], rois, number, SCALES)


@inside
@pytest.mark.parametrize(("levels", "count"), [(1, 4), (4, 8), (3, 0)])
def test_kernels_pool_the_same(monkeypatch, levels, count):
    from tests.ops.interpreter_memory import check_addresses

    check_addresses(monkeypatch)
    compare("cpu", in_the_interpreter, levels, count, 64, (3, 2), 1e-5)


def test_maps_on_a_cpu_are_left_to_torchvision():
    assert not pools_pyramid(maps(2, 64))


def on_a_gpu(given, rois, number, size, grad):
    given = [one.requires_grad_() for one in given]
    assert pools_pyramid(given)
    torch.cuda.set_sync_debug_mode("error")
    try:
        out = pyramid_roi_align(given, rois, number, size, SCALES)
        gradients = torch.autograd.grad(out, given, grad)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return out.detach(), gradients


@pytest.mark.gpu
@pytest.mark.parametrize(("levels", "count"), [(1, 5), (4, 600), (3, 0)])
def test_on_a_gpu(levels, count):
    compare("cuda", on_a_gpu, levels, count, 512, (7, 3), 1e-5)


@pytest.mark.gpu
def test_half_precision_is_rounded_once_on_a_gpu():
    rois, number = (one.cuda() for one in regions(200, 512, 4))
    given = [one.cuda() for one in maps(4, 512, 256, torch.float16)]
    got = pyramid_roi_align(given, rois, number, (7, 7), SCALES)
    assert got.dtype == torch.float16
    exact = wanted([one.float() for one in given], rois, number, (7, 7))
    torch.testing.assert_close(got.float(), exact, atol=1e-3, rtol=1e-3)
