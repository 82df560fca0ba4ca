"""Deformable convolution has the numbers of mmcv's compiled kernels, gradients included."""

import json

import pytest
import torch
from mmcv.ops import ModulatedDeformConv2d, deform_conv2d, modulated_deform_conv2d

from mmmamba.compat import compiled_extension

from .deform_conv_figures import CASES, FIGURES, by_mmcv, by_torchvision, run, summary

FOUND = json.loads(FIGURES.read_text())
# Of a tensor's norm. mmcv adds up in half precision, and compat in float32.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 1e-2}
INITIAL = [name for name, case in CASES.items() if case.offsets == "initial"]
without_compiler = pytest.mark.skipif(
    compiled_extension() is not None, reason="mmcv has its compiled operators"
)


def assert_figures(values: dict[str, torch.Tensor], wanted: dict, tolerance: float) -> None:
    assert values.keys() == wanted.keys()
    for name, figures in summary(values).items():
        assert figures == pytest.approx(wanted[name], rel=0, abs=tolerance * wanted[name][0]), name


@without_compiler
@pytest.mark.parametrize("name", CASES)
def test_the_numbers_of_the_compiled_kernels(name, device):
    tolerance = TOLERANCE[CASES[name].dtype]
    assert_figures(run(CASES[name], by_mmcv, device), FOUND[name]["mmcv"], tolerance)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].maps is None])
def test_torchvision_has_the_numbers_it_had(name):
    wanted = FOUND[name]["torchvision"]
    assert_figures(run(CASES[name], by_torchvision), wanted, TOLERANCE[CASES[name].dtype])


@pytest.mark.parametrize("name", INITIAL)
def test_torchvision_differs_while_offsets_are_zero(name):
    """The control: without the border's slope the first test would fail, by percents."""
    found = FOUND[name]
    differing = {
        key
        for key, figures in found["mmcv"].items()
        if figures != pytest.approx(found["torchvision"][key], rel=0, abs=0.01 * figures[0])
    }
    assert differing == {"conv_offset"}


@without_compiler
def test_a_slope_ends_at_the_border():
    x = torch.arange(12.0).view(1, 1, 3, 4) + 1
    weight = torch.ones(1, 1, 1, 1)
    places = {-1.0: 0.0, -0.999: 1.0, 2.0: -9.0, 3.0: 0.0}
    for row, slope in places.items():
        offset = torch.zeros(1, 2, 3, 4)
        offset[0, 0, 0, 0] = row
        offset.requires_grad_()
        deform_conv2d(x, offset, weight)[0, 0, 0, 0].backward()
        assert offset.grad[0, 0, 0, 0] == pytest.approx(slope), row


@without_compiler
def test_maps_of_twice_the_size_are_read_from_their_start():
    torch.manual_seed(0)
    layer = ModulatedDeformConv2d(4, 4, 3, padding=1)
    x = torch.randn(2, 4, 6, 8)
    offset = torch.randn(2, 18, 12, 16, requires_grad=True)
    mask = torch.rand(2, 9, 12, 16, requires_grad=True)
    layer(x, offset, mask).square().sum().backward()
    read = [
        t.detach().flatten(1)[:, : n * 48].reshape(2, n, 6, 8).requires_grad_()
        for t, n in ((offset, 18), (mask, 9))
    ]
    layer(x, *read).square().sum().backward()
    for whole, part in zip((offset, mask), read):
        length = part[0].numel()
        assert torch.equal(whole.grad.flatten(1)[:, :length], part.grad.flatten(1))
        assert whole.grad.flatten(1)[:, length:].abs().sum() == 0


@without_compiler
def test_maps_in_channels_last_memory_are_read_alike():
    inputs = run(CASES["v2 maps of another shape"], by_mmcv)

    def channels_last(case, x, offset, weight, **more):
        offset, more["mask"] = (
            t.contiguous(memory_format=torch.channels_last) for t in (offset, more["mask"])
        )
        return by_mmcv(case, x, offset, weight, **more)

    for name, value in run(CASES["v2 maps of another shape"], channels_last).items():
        torch.testing.assert_close(value, inputs[name])


@without_compiler
@pytest.mark.parametrize(
    ("offset", "mask", "message"),
    [
        ((1, 18, 5, 8), (1, 9, 6, 8), r"offset is \(1, 18, 5, 8\).*18 channels and 6x8 values"),
        ((1, 18, 6, 8), (1, 9, 4, 8), r"mask is \(1, 9, 4, 8\).*9 channels and 6x8 values"),
        ((1, 36, 6, 8), (1, 9, 6, 8), r"offset is \(1, 36, 6, 8\).*18 channels"),
    ],
)
def test_maps_that_are_too_small_are_refused(offset, mask, message):
    with pytest.raises(ValueError, match=message):
        modulated_deform_conv2d(
            torch.zeros(1, 4, 6, 8),
            torch.zeros(offset),
            torch.zeros(mask),
            torch.zeros(4, 4, 3, 3),
            None,
            1,
            1,
        )


@without_compiler
@pytest.mark.parametrize("size", [(12, 16), (5, 8)])
def test_v1_refuses_maps_of_another_size_as_mmcv_does(size):
    with pytest.raises(RuntimeError, match="offset output dims"):
        deform_conv2d(
            torch.zeros(1, 4, 6, 8), torch.zeros(1, 18, *size), torch.zeros(4, 4, 3, 3), 1, 1
        )
