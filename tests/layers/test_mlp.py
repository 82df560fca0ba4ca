"""Feed-forward layers that see neighbours."""

import pytest
import torch
import torch.nn.functional as F

from mmmamba.layers import ConvMlp


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_conv_mlp(residual, kernel_size):
    torch.manual_seed(0)
    mlp = ConvMlp(4, 2.5, kernel_size=kernel_size, residual=residual).double()
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64, requires_grad=True)
    wide = mlp.fc1(x)
    local = F.conv2d(
        wide.permute(0, 3, 1, 2),
        mlp.dwconv.weight,
        mlp.dwconv.bias,
        padding=kernel_size // 2,
        groups=10,
    ).permute(0, 2, 3, 1)
    want = F.linear(F.gelu(local + wide if residual else local), mlp.fc2.weight, mlp.fc2.bias)
    torch.testing.assert_close(mlp(x), want)
    mlp(x).sin().sum().backward()
    assert all(p.grad.any() for p in [x, *mlp.parameters()])


def test_names_and_shapes():
    shapes = {name: tuple(value.shape) for name, value in ConvMlp(8, 4).state_dict().items()}
    assert shapes == {
        "fc1.weight": (32, 8),
        "fc1.bias": (32,),
        "dwconv.weight": (32, 1, 3, 3),
        "dwconv.bias": (32,),
        "fc2.weight": (8, 32),
        "fc2.bias": (8,),
    }
