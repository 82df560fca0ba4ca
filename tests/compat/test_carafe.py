"""CARAFE against a loop over the cells of the larger map."""

import pytest
import torch
from mmcv.ops import CARAFEPack, carafe, carafe_naive
from torch.autograd import gradcheck

from mmmamba.compat import compiled_extension
from mmmamba.compat.ext import OPERATORS

pytestmark = pytest.mark.skipif(
    compiled_extension() is not None, reason="mmcv has its compiled operators"
)

# kernel, groups, scale
GEOMETRIES = [(5, 1, 2), (3, 2, 3), (1, 1, 1), (3, 4, 2)]


def make_inputs(kernel: int, groups: int, scale: int, dtype=torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 4, 3, 4), (2, groups * kernel**2, 3 * scale, 4 * scale)
    tensors = [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]
    return [t.to(dtype).requires_grad_() for t in tensors]


def plain_carafe(features, masks, kernel, groups, scale):
    batch, channels, height, width = features.shape
    half = kernel // 2
    output = torch.zeros(batch, channels, height * scale, width * scale, dtype=features.dtype)
    for c in range(channels):
        first = c // (channels // groups) * kernel**2
        for y in range(height * scale):
            for x in range(width * scale):
                for i in range(kernel):
                    for j in range(kernel):
                        row, column = y // scale + i - half, x // scale + j - half
                        if 0 <= row < height and 0 <= column < width:
                            tap = masks[:, first + i * kernel + j, y, x]
                            output[:, c, y, x] += tap * features[:, c, row, column]
    return output


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("operator", [carafe, carafe_naive])
def test_values(operator, geometry, device):
    features, masks = make_inputs(*geometry)
    found = operator(features.to(device), masks.to(device), *geometry)
    torch.testing.assert_close(found.cpu(), plain_carafe(features, masks, *geometry))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_gradients(geometry, device):
    inputs = [t.detach().to(device).requires_grad_() for t in make_inputs(*geometry)]
    assert gradcheck(lambda x, m: carafe(x, m, *geometry), inputs, fast_mode=True)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_naive_operator_has_the_same_gradients(geometry):
    """By the entry point itself, as mmcv's wrapper for it takes gradients on a GPU only."""
    kernel, groups, scale = geometry
    features, masks = make_inputs(*geometry)
    output = carafe(features, masks, *geometry)
    grad = torch.randn_like(output)
    wanted = torch.autograd.grad(output, (features, masks), grad)
    found = torch.zeros_like(features), torch.zeros_like(masks)
    names = dict(kernel_size=kernel, group_size=groups, scale_factor=scale)
    OPERATORS["carafe_naive_backward"](grad, features.detach(), masks.detach(), *found, **names)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_close(dtype, device):
    geometry = GEOMETRIES[0]
    half = [t.detach().to(device).requires_grad_() for t in make_inputs(*geometry, dtype)]
    full = [t.detach().float().requires_grad_() for t in half]
    results = []
    for inputs in (half, full):
        y = carafe(*inputs, *geometry)
        results.append([y, *torch.autograd.grad(y.sum(), inputs)])
    for narrow, wide in zip(*results):
        assert narrow.dtype == dtype
        torch.testing.assert_close(narrow.float(), wide, rtol=2e-2, atol=5e-2)


def test_the_pack_takes_maps_in_channels_last_memory():
    torch.manual_seed(0)
    pack = CARAFEPack(4, 2).double()
    x = torch.randn(2, 4, 5, 3, dtype=torch.float64)
    y = pack(x.contiguous(memory_format=torch.channels_last))
    assert y.shape == (2, 4, 10, 6)
    torch.testing.assert_close(y, pack(x))
    y.sum().backward()
    assert pack.content_encoder.weight.grad.abs().sum() > 0
