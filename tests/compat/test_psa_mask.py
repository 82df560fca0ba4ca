"""PSANet's masks against a loop over the cells and the places of their masks."""

import pytest
import torch
from mmcv.ops import PSAMask
from torch.autograd import gradcheck

from mmmamba.compat import compiled_extension

pytestmark = pytest.mark.skipif(
    compiled_extension() is not None, reason="mmcv has its compiled operators"
)

TYPES = ["collect", "distribute"]
# Mask and map: smaller, as large as needed to cover the map from every cell, even lengths.
SIZES = [((3, 3), (4, 5)), ((7, 9), (4, 5)), ((4, 2), (3, 5)), ((5, 1), (2, 6))]


def make_input(mask, size, dtype=torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, mask[0] * mask[1], *size, dtype=torch.float64, generator=generator)
    return x.to(dtype)


def plain_mask(x, psa_type, mask, size):
    output = torch.zeros(2, size[0] * size[1], *size, dtype=x.dtype)
    for h in range(size[0]):
        for w in range(size[1]):
            for i in range(mask[0]):
                for j in range(mask[1]):
                    row, column = h + i - (mask[0] - 1) // 2, w + j - (mask[1] - 1) // 2
                    if not (0 <= row < size[0] and 0 <= column < size[1]):
                        continue
                    value = x[:, i * mask[1] + j, h, w]
                    if psa_type == "collect":
                        output[:, row * size[1] + column, h, w] = value
                    else:
                        output[:, h * size[1] + w, row, column] = value
    return output


@pytest.mark.parametrize(("mask", "size"), SIZES)
@pytest.mark.parametrize("psa_type", TYPES)
def test_values(psa_type, mask, size, device):
    x = make_input(mask, size)
    found = PSAMask(psa_type, mask)(x.to(device))
    assert torch.equal(found.cpu(), plain_mask(x, psa_type, mask, size))


@pytest.mark.parametrize(("mask", "size"), SIZES)
@pytest.mark.parametrize("psa_type", TYPES)
def test_gradients(psa_type, mask, size, device):
    x = make_input(mask, size).to(device).requires_grad_()
    assert gradcheck(PSAMask(psa_type, mask), (x,), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("psa_type", TYPES)
def test_half_precision_is_the_same(psa_type, dtype):
    mask, size = SIZES[1]
    x = make_input(mask, size, dtype).requires_grad_()
    y = PSAMask(psa_type, mask)(x)
    assert torch.equal(y, plain_mask(x, psa_type, mask, size))
    assert torch.autograd.grad(y.sum(), x)[0].dtype == dtype
