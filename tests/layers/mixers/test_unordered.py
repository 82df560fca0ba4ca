"""Mixers that read all cells at once: their names, their order, their precision."""

import pytest
import torch
import torch.nn.functional as F

from mmmamba.layers import LinearAttention, MapAttention, StateSum, Unordered, channels_first
from mmmamba.layers.rotary import rotary_side_table, rotary_table
from mmmamba.ops.routes.registry import keep_tables

MIXERS = {
    "StateSum": lambda: StateSum(8, 2, d_state=4),
    "LinearAttention": lambda: LinearAttention(8, 2),
    "MapAttention": lambda: MapAttention(8, 2),
}


def a_map(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", MIXERS)
def test_maps_keep_their_shape_and_all_learn(name):
    torch.manual_seed(0)
    mixer = MIXERS[name]()
    assert isinstance(mixer, Unordered) and not hasattr(mixer, "walk")
    x = a_map(2, 3, 5, 8).requires_grad_()
    y = mixer(x)
    assert y.shape == x.shape
    y.sin().sum().backward()
    assert not [n for n, p in mixer.named_parameters() if p.grad is None or not p.grad.any()]


def test_a_state_without_convolution_knows_no_order():
    torch.manual_seed(0)
    mixer = StateSum(8, 2, d_state=4)
    with torch.no_grad():
        mixer.conv2d.weight.zero_()[:, :, 1, 1] = 1
    x, order = a_map(1, 3, 4, 8), torch.randperm(12, generator=torch.Generator().manual_seed(1))
    mixed = mixer(x.flatten(1, 2)[:, order].view_as(x))
    torch.testing.assert_close(mixed.flatten(1, 2), mixer(x).flatten(1, 2)[:, order])


def test_state_sum_is_its_definition():
    torch.manual_seed(0)
    mixer, x = StateSum(8, 2, d_state=4).double(), a_map(2, 3, 5, 8).double()
    z, xBC, dt = mixer.in_proj(x).split((16, 24, 2), -1)
    conv = mixer.conv2d
    xBC = F.silu(F.conv2d(channels_first(xBC), conv.weight, conv.bias, padding=1, groups=24))
    x_BGPL, B_BNL, C_BNL = (part.flatten(2) for part in xBC.split((16, 4, 4), 1))
    x_BGPL = x_BGPL.unflatten(1, (2, 8))
    m_BLG = F.softplus(dt.flatten(1, 2) + mixer.dt_bias) * mixer.A_log.exp()
    state = torch.einsum("blg,bnl,bgpl->bgnp", m_BLG, B_BNL, x_BGPL)
    y = torch.einsum("bnl,bgnp->blgp", C_BNL, state)
    y = y + mixer.D[:, None] * x_BGPL.permute(0, 3, 1, 2)
    normed = mixer.norm.weight * F.layer_norm(y.flatten(2), (16,)) + mixer.norm.bias
    # No activation on the gate.
    torch.testing.assert_close(mixer(x), mixer.out_proj(normed.view_as(z) * z))


@pytest.mark.parametrize("name", ["StateSum", "LinearAttention"])
def test_half_precision_of_large_maps_is_finite(name):
    """Sums over a map pass the range of float16."""
    torch.manual_seed(0)
    mixer = MIXERS[name]()
    x = 30 * a_map(1, 64, 64, 8)
    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        y, want = mixer(x), mixer.double()(x.double())
    assert y.isfinite().all()
    assert (y - want).pow(2).mean().sqrt() < 0.05 * want.std()


def test_widths_that_cannot_be_split_are_named():
    with pytest.raises(ValueError, match="18 inner channels cannot be split over 4 heads"):
        StateSum(9, 4)
    with pytest.raises(ValueError, match="6 channels cannot be split over 3 heads and turned"):
        LinearAttention(6, 3)


def test_tables_of_one_side_are_those_of_the_map_and_kept_for_graphs():
    with keep_tables() as kept:
        side = rotary_side_table(7, 16, torch.device("cpu"))
    assert any(table is side for table in kept)
    assert rotary_side_table(7, 16, torch.device("cpu")) is side
    whole = rotary_table(5, 7, 16, (1, 1)).unflatten(1, (5, 7))
    assert torch.equal(whole[:, :, 0, :4], side[:, :5])
    assert torch.equal(whole[:, 0, :, 4:], side)
