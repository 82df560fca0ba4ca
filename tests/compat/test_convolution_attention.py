"""Deformable convolutions and deformable attention against sums of bilinear samples."""

import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import DeformConv2d, deform_conv2d, modulated_deform_conv2d
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from torch.autograd import gradcheck

from mmmamba.compat import compiled_extension

pytestmark = pytest.mark.skipif(
    compiled_extension() is not None, reason="mmcv has its compiled operators"
)

STRIDE, PADDING, DILATION, GROUPS, OFFSET_GROUPS = (2, 1), (1, 2), (1, 2), 2, 2


def sample(plane_CHW: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Values (C, *y.shape) at fractional cells, 0 outside."""
    height, width = plane_CHW.shape[1:]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    return F.grid_sample(plane_CHW[None], grid[None], align_corners=False)[0]


def plain_deform_conv(x, offset, mask, weight, bias):
    """y(p) = sum_k w_k m_k x(p + p_k + dp_k), one kernel position and offset group at a time."""
    _out_channels, _, kernel_h, kernel_w = weight.shape
    out_h, out_w = offset.shape[2:]
    per_group = x.shape[1] // OFFSET_GROUPS
    offset = offset.view(len(x), OFFSET_GROUPS, kernel_h, kernel_w, 2, out_h, out_w)
    mask = mask.view(len(x), OFFSET_GROUPS, kernel_h, kernel_w, out_h, out_w)
    row = torch.arange(out_h, dtype=x.dtype)[:, None] * STRIDE[0] - PADDING[0]
    column = torch.arange(out_w, dtype=x.dtype)[None] * STRIDE[1] - PADDING[1]
    outputs = []
    for b in range(len(x)):
        total = 0
        for i in range(kernel_h):
            for j in range(kernel_w):
                parts = []
                for g in range(OFFSET_GROUPS):
                    dy, dx = offset[b, g, i, j]
                    plane = x[b, g * per_group : (g + 1) * per_group]
                    value = sample(plane, row + i * DILATION[0] + dy, column + j * DILATION[1] + dx)
                    parts.append(value * mask[b, g, i, j])
                total = total + F.conv2d(
                    torch.cat(parts)[None], weight[:, :, i : i + 1, j : j + 1], groups=GROUPS
                )
        outputs.append(total[0])
    return torch.stack(outputs) + (bias.view(-1, 1, 1) if bias is not None else 0)


def deform_inputs(dtype=torch.float64) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    # A 3x2 kernel, so that rows and columns can't be exchanged unnoticed; 4x6 outputs for a 7x5
    # map.
    shapes = dict(
        x=(2, 4, 7, 5), offset=(2, 2 * 6 * OFFSET_GROUPS, 4, 7), mask=(2, 6 * OFFSET_GROUPS, 4, 7)
    )
    shapes |= dict(weight=(6, 2, 3, 2), bias=(6,))
    inputs = {name: torch.randn(shape, dtype=torch.float64) for name, shape in shapes.items()}
    inputs["offset"] *= 2
    inputs["mask"] = inputs["mask"].sigmoid()
    return {name: value.to(dtype).requires_grad_() for name, value in inputs.items()}


GEOMETRY = (STRIDE, PADDING, DILATION, GROUPS, OFFSET_GROUPS)


def compare(found: torch.Tensor, wanted: torch.Tensor, inputs: list[torch.Tensor]) -> None:
    torch.testing.assert_close(found, wanted)
    weight = torch.randn_like(wanted)
    found_grads = torch.autograd.grad((found * weight).sum(), inputs)
    wanted_grads = torch.autograd.grad((wanted * weight).sum(), inputs)
    for one, other in zip(found_grads, wanted_grads):
        assert other.abs().sum() > 0
        torch.testing.assert_close(one, other)


def test_deform_conv_and_its_gradients():
    t = deform_inputs()
    found = deform_conv2d(t["x"], t["offset"], t["weight"], *GEOMETRY)
    wanted = plain_deform_conv(t["x"], t["offset"], torch.ones_like(t["mask"]), t["weight"], None)
    compare(found, wanted, [t["x"], t["offset"], t["weight"]])


@pytest.mark.parametrize("with_bias", [True, False])
def test_modulated_deform_conv_and_its_gradients(with_bias):
    t = deform_inputs()
    bias = t["bias"] if with_bias else None
    found = modulated_deform_conv2d(t["x"], t["offset"], t["mask"], t["weight"], bias, *GEOMETRY)
    wanted = plain_deform_conv(t["x"], t["offset"], t["mask"], t["weight"], bias)
    compare(
        found, wanted, [t["x"], t["offset"], t["mask"], t["weight"]] + ([bias] if with_bias else [])
    )


def test_frozen_weight_or_frozen_input():
    t = deform_inputs()
    full = torch.autograd.grad(
        deform_conv2d(t["x"], t["offset"], t["weight"], *GEOMETRY).sum(), [t["x"], t["weight"]]
    )
    only_x = deform_conv2d(t["x"], t["offset"].detach(), t["weight"].detach(), *GEOMETRY).sum()
    only_w = deform_conv2d(t["x"].detach(), t["offset"].detach(), t["weight"], *GEOMETRY).sum()
    torch.testing.assert_close(torch.autograd.grad(only_x, t["x"])[0], full[0])
    torch.testing.assert_close(torch.autograd.grad(only_w, t["weight"])[0], full[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_deform_convs_in_half_precision(dtype):
    half = deform_inputs(dtype)
    full = {name: value.detach().float().requires_grad_() for name, value in half.items()}
    results = []
    for t in (half, full):
        y = deform_conv2d(t["x"], t["offset"], t["weight"], *GEOMETRY)
        y = y + modulated_deform_conv2d(
            t["x"], t["offset"], t["mask"], t["weight"], t["bias"], *GEOMETRY
        )
        results.append([y, *torch.autograd.grad(y.sum(), list(t.values()))])
    for narrow, wide in zip(*results):
        assert narrow.dtype == dtype
        largest = float(wide.detach().abs().max())
        torch.testing.assert_close(narrow.float(), wide, rtol=5e-2, atol=0.05 * largest)


def test_an_integer_shift_is_a_shifted_convolution():
    layer = DeformConv2d(3, 4, 3, padding=1)
    x = torch.randn(1, 3, 6, 6)
    offset = torch.zeros(1, 18, 6, 6)
    offset[:, 0::2] = 1
    wanted = F.conv2d(F.pad(x, (1, 1, 0, 2)), layer.weight)
    torch.testing.assert_close(layer(x, offset), wanted, rtol=1e-4, atol=1e-5)


def attention_inputs(dtype=torch.float64, queries: int = 5):
    torch.manual_seed(0)
    shapes = torch.tensor([[4, 6], [2, 3]])
    start = torch.tensor([0, 24])
    value = torch.randn(2, 30, 2, 3, dtype=torch.float64)
    locations = torch.rand(2, queries, 2, 2, 4, 2, dtype=torch.float64) * 1.4 - 0.2
    weights = torch.rand(2, queries, 2, 2, 4, dtype=torch.float64)
    tensors = [t.to(dtype).requires_grad_() for t in (value, locations, weights)]
    return tensors, shapes, start


def attend(value, shapes, start, locations, weights):
    return MultiScaleDeformableAttnFunction.apply(value, shapes, start, locations, weights, 64)


def plain_attention(value, shapes, start, locations, weights):
    batch, queries, heads, levels, _, _ = locations.shape
    rows = []
    for b in range(batch):
        for q in range(queries):
            for m in range(heads):
                total = 0
                for level in range(levels):
                    h, w = shapes[level].tolist()
                    first = int(start[level])
                    plane = value[b, first : first + h * w, m].T.reshape(-1, h, w)
                    x, y = locations[b, q, m, level].unbind(-1)
                    values = sample(plane, (y * h - 0.5)[None], (x * w - 0.5)[None])[:, 0]
                    total = total + (values * weights[b, q, m, level]).sum(dim=-1)
                rows.append(total)
    return torch.stack(rows).view(batch, queries, -1)


def test_deformable_attention_and_its_gradients():
    (value, locations, weights), shapes, start = attention_inputs()
    found = attend(value, shapes, start, locations, weights)
    wanted = plain_attention(value, shapes, start, locations, weights)
    compare(found, wanted, [value, locations, weights])


def test_deformable_attention_gradcheck():
    (value, locations, weights), shapes, start = attention_inputs(queries=2)
    assert gradcheck(lambda v, p, a: attend(v, shapes, start, p, a), (value, locations, weights))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_deformable_attention_in_half_precision(dtype):
    tensors, shapes, start = attention_inputs(dtype)
    found = attend(tensors[0], shapes, start, *tensors[1:])
    wide = [t.detach().float().requires_grad_() for t in tensors]
    wanted = attend(wide[0], shapes, start, *wide[1:])
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), wanted, rtol=2e-2, atol=2e-2)
    for narrow, full in zip(
        torch.autograd.grad(found.sum(), tensors), torch.autograd.grad(wanted.sum(), wide)
    ):
        torch.testing.assert_close(
            narrow.float(), full, rtol=2e-2, atol=0.02 * float(full.abs().max())
        )


def test_attention_without_queries():
    (value, locations, weights), shapes, start = attention_inputs(queries=0)
    y = attend(value, shapes, start, locations, weights)
    assert y.shape == (2, 0, 6)
    assert torch.autograd.grad(y.sum(), value)[0].abs().sum() == 0
