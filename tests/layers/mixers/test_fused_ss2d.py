"""The mixer of Spatial-Mamba against its definition, read step by step."""

import importlib

import pytest
import torch
import torch.nn.functional as F

from mmmamba.layers import FusedSS2D

from ...ops.test_state_fusion import by_definition


def make(d_state=1):
    torch.manual_seed(0)
    mixer = FusedSS2D(6, d_state=d_state, dt_rank=3, dilations=(1, 2)).double()
    for parameter in (*mixer.state_fusion.parameters(), mixer.Ds):
        parameter.data += 0.3 * torch.randn_like(parameter)
    return mixer, torch.randn(2, 3, 4, 6, dtype=torch.float64)


def defined(mixer, x):
    u, z = mixer.in_proj(x).chunk(2, -1)
    u = F.silu(
        F.conv2d(
            u.permute(0, 3, 1, 2), mixer.conv2d.weight, mixer.conv2d.bias, padding=1, groups=12
        )
    )
    u_BHWD = u.permute(0, 2, 3, 1)
    u_BLD = u_BHWD.flatten(1, 2)
    N = mixer.A_logs.shape[1]
    rho, B, C = F.linear(u_BLD, mixer.x_proj_weight).split((3, N, N), -1)
    delta = F.softplus(F.linear(rho, mixer.dt_projs_weight) + mixer.dt_projs_bias)
    A = -torch.exp(mixer.A_logs)
    h, states = torch.zeros(2, 12, N, dtype=x.dtype), []
    for t in range(u_BLD.shape[1]):
        drive = delta[:, t, :, None] * B[:, t, None, :] * u_BLD[:, t, :, None]
        h = torch.exp(delta[:, t, :, None] * A) * h + drive
        states.append(h)
    h_BHWDN = torch.stack(states, 1).unflatten(1, x.shape[1:3])
    fusion = mixer.state_fusion
    kernels = torch.stack([a * k[:, 0] for a, k in zip(fusion.alpha, fusion.kernels)])
    y = mixer.Ds * u_BHWD
    for n in range(N):
        C_BHW = C[..., n].unflatten(1, x.shape[1:3])
        y = y + by_definition(h_BHWDN[..., n], kernels, C_BHW, dilations=(1, 2))
    return mixer.out_proj(mixer.out_norm(y) * F.silu(z))


@pytest.mark.parametrize("projecting", [False, True])
@pytest.mark.parametrize("d_state", [1, 3])
def test_definition(d_state, projecting, monkeypatch):
    """Values and gradients, also as on a GPU where the scan projects by itself."""
    module = importlib.import_module("mmmamba.layers.mixers.fused_ss2d")
    monkeypatch.setattr(module, "scan_projects", lambda x, rank: projecting)
    mixer, x = make(d_state)
    given = (x.requires_grad_(), *mixer.parameters())
    found = []
    for function in (mixer, lambda x: defined(mixer, x)):
        y = function(x)
        found.append([y.detach(), *torch.autograd.grad(y.square().sum(), given)])
    for got, want in zip(*found):
        torch.testing.assert_close(got, want)


def test_walk():
    mixer, x = make()
    walk = mixer.walk(x)
    assert walk.routes == ("row",) and walk.cells_GKT.tolist() == [[list(range(12))]]


def test_states_of_half_precision_do_not_overflow():
    """A state that sums a whole map may exceed float16, and is normalised before it is narrowed."""
    mixer = FusedSS2D(6)
    mixer.A_logs.data.fill_(-20)
    x = torch.ones(1, 24, 24, 6)
    with torch.autocast("cpu", torch.float16):
        mixer.in_proj.weight.data.fill_(5)
        mixer.x_proj_weight.data.fill_(1)
        assert mixer(x).isfinite().all()
