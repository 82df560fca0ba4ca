"""mmcv's SyncBatchNorm against PyTorch's batch normalisation of all the maps at once."""

import pytest
import torch
import torch.nn as nn
from mmcv.ops import SyncBatchNorm

from mmmamba.compat import compiled_extension
from mmmamba.compat.ext import OPERATORS

pytestmark = pytest.mark.skipif(
    compiled_extension() is not None, reason="mmcv has its compiled operators"
)


def make_layers(device: str = "cpu") -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    layers = SyncBatchNorm(3, momentum=0.3).to(device), nn.BatchNorm2d(3, momentum=0.3).to(device)
    nn.init.normal_(layers[0].bias)
    layers[1].load_state_dict(layers[0].state_dict())
    return layers


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_it_is_batch_norm(dtype, device, one_process):
    results = []
    for layer in make_layers(device):
        generator = torch.Generator().manual_seed(1)
        x = (torch.randn(4, 3, 5, 6, generator=generator) * 2 + 3).to(device, dtype)
        x.requires_grad_()
        y = layer(x)
        y.backward(torch.linspace(-1, 1, y.numel(), device=device).view(y.shape).to(dtype))
        results.append([y, x.grad, *(p.grad for p in layer.parameters()), *layer.buffers()])
    tolerance = 1e-2 if dtype == torch.float16 else 1e-4
    torch.testing.assert_close(*results, rtol=tolerance, atol=tolerance)


def test_a_map_of_no_regions(one_process):
    layer, _ = make_layers()
    before = [buffer.clone() for buffer in (layer.running_mean, layer.running_var)]
    y = layer(torch.zeros(0, 3, 5, 6, requires_grad=True))
    y.sum().backward()
    assert y.shape == (0, 3, 5, 6) and layer.weight.grad.abs().sum() == 0
    layer.stats_mode = "N"
    layer.running_mean.copy_(before[0])
    layer.running_var.copy_(before[1])
    layer(torch.zeros(0, 3, 5, 6))
    assert torch.equal(layer.running_mean, before[0]) and torch.equal(layer.running_var, before[1])


def test_two_processes_have_the_numbers_of_one():
    """The steps of two processes, with the averages that mmcv takes in between."""
    torch.manual_seed(0)
    maps = [torch.randn(2, 3, 7) * 2 + shift for shift in (0, 1)]
    grads = [torch.randn(2, 3, 7) for _ in maps]
    weight, bias = torch.rand(3) + 0.5, torch.randn(3)
    whole = torch.cat(maps).requires_grad_()
    layer = nn.BatchNorm1d(3)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    wanted = layer(whole)
    wanted.backward(torch.cat(grads))

    def step(name, *arguments, **named):
        return OPERATORS[f"sync_bn_{name}"](*arguments, **named)

    def average(values):
        return torch.stack(values).mean(dim=0)

    means, variances = ([torch.zeros(3) for _ in maps] for _ in range(2))
    for x, mean in zip(maps, means):
        step("forward_mean", x, mean)
    mean = average(means)
    for x, var in zip(maps, variances):
        step("forward_var", x, mean, var)
    var = average(variances)
    states = []
    for x in maps:
        running = [torch.zeros(3), torch.ones(3)]
        norm, std, y = torch.zeros(x.shape), torch.zeros(3), torch.zeros(x.shape)
        step(
            "forward_output",
            x,
            mean,
            var,
            weight,
            bias,
            *running,
            norm,
            std,
            y,
            eps=1e-5,
            momentum=0.1,
            group_size=2,
        )
        torch.testing.assert_close(running, [layer.running_mean, layer.running_var])
        states.append((norm, std, y))
    torch.testing.assert_close(torch.cat([y for _, _, y in states]), wanted.detach())
    of_weight, of_bias = ([torch.zeros(3) for _ in maps] for _ in range(2))
    for grad, (norm, _, _), w, b in zip(grads, states, of_weight, of_bias):
        step("backward_param", grad, norm, w, b)
    torch.testing.assert_close(sum(of_weight), layer.weight.grad)
    torch.testing.assert_close(sum(of_bias), layer.bias.grad)
    found = [torch.zeros_like(x) for x in maps]
    for grad, (norm, std, _), target in zip(grads, states, found):
        step("backward_data", grad, weight, average(of_weight), average(of_bias), norm, std, target)
    torch.testing.assert_close(torch.cat(found), whole.grad)
