"""The projection for ranks that tensor cores cannot take equals the one through the low-rank factor."""

import pytest
import torch

from mmmamba.layers import SS2D, SplitMixer
from mmmamba.layers.mixers.low_rank import dense_pays


@pytest.mark.parametrize("layer", [SS2D(24, d_state=2), SplitMixer(24)])
def test_both_projections_agree(layer):
    layer.double()
    width = layer.out_norm.normalized_shape[0] if isinstance(layer, SS2D) else 12
    x = torch.randn(2, 7, width, dtype=torch.float64, requires_grad=True)
    results = []
    for project in (layer.project, layer._project_at_once):
        outputs = project(x)
        loss = sum(
            (o * torch.linspace(1, 2, o.numel(), dtype=o.dtype).view(o.shape)).sum()
            for o in outputs
        )
        grads = torch.autograd.grad(loss, [x, *(p for p in layer.parameters())], allow_unused=True)
        results.append([*outputs, *(g for g in grads if g is not None)])
    assert len(results[0]) == len(results[1])
    for a, b in zip(*results):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_the_choice_is_for_gpus_and_odd_ranks():
    assert not dense_pays(torch.zeros(1), 6)


def test_the_scan_that_projects_gives_what_the_other_gives():
    layer = SS2D(12, d_state=2).double()
    x_BHWD = torch.randn(2, 5, 6, 12 * 2, dtype=torch.float64)
    torch.testing.assert_close(
        layer._scan_projected(x_BHWD.flatten(1, 2), 5, 6), layer.scan(x_BHWD).flatten(1, 2)
    )
    split = SplitMixer(16).double()
    x_BLC = torch.randn(2, 9, 16, dtype=torch.float64)
    x_BLD, z_BLD = split.convolve(split.in_proj(x_BLC)).chunk(2, -1)
    y_BLD = split._scan_projected(x_BLD, -torch.exp(split.A_log))
    torch.testing.assert_close(split.out_proj(torch.cat([y_BLD, z_BLD], -1)), split(x_BLC))
