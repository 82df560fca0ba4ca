"""Mamba's mixer along a route is the mixer along the rows of the map so ordered."""

import pytest
import torch
import torch.nn.functional as F

from mmmamba.layers import CausalMixer


def made(route, **given):
    torch.manual_seed(0)
    mixer = CausalMixer(6, route, d_state=3, **given).double()
    for name, parameter in mixer.named_parameters():
        if name != "A_log":
            torch.nn.init.normal_(parameter, std=0.3)
    return mixer


def step_by_step(mixer, x_LC):
    """Tokens in the order of the scan, from the paper's formula."""
    u_LD, z_LD = mixer.in_proj(x_LC).chunk(2, -1)
    taps_DW = mixer.conv1d.weight[:, 0]
    before_LD = F.pad(u_LD, (0, 0, taps_DW.shape[1] - 1, 0))
    windows_LDW = before_LD.unfold(0, taps_DW.shape[1], 1)
    u_LD = F.silu((windows_LDW * taps_DW).sum(-1) + mixer.conv1d.bias)
    rank = mixer.dt_proj.in_features
    rho, B_LN, C_LN = mixer.x_proj(u_LD).split([rank, 3, 3], -1)
    delta_LD = F.softplus(mixer.dt_proj(rho))
    state, out = torch.zeros(12, 3, dtype=torch.float64), []
    for u, delta, B, C in zip(u_LD, delta_LD, B_LN, C_LN):
        decay = torch.exp(-delta[:, None] * mixer.A_log.exp())
        state = decay * state + (delta * u)[:, None] * B
        out.append(state @ C + mixer.D * u)
    return mixer.out_proj(torch.stack(out) * F.silu(z_LD))


@pytest.mark.parametrize("route", ["row", "row_reversed", "column", "column_reversed"])
@torch.no_grad()
def test_definition(route):
    mixer = made(route)
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    y = mixer(x)
    order = mixer.walk(x).cells_GKT[0, 0]
    for image, got in zip(x, y):
        want = torch.empty(15, 6, dtype=torch.float64)
        want[order] = step_by_step(mixer, image.flatten(0, 1)[order])
        torch.testing.assert_close(got.flatten(0, 1), want)


def test_routes_are_told():
    with pytest.raises(ValueError, match="'snake', wanted one of row, row_reversed"):
        CausalMixer(8, "snake")
