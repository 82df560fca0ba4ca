"""MSVMamba's mixer: its visiting order, its scans by definition, and how it merges them."""

import pytest
import torch
import torch.nn.functional as F

from mmmamba.layers import MULTI_SCALE, JoinedScan, MultiScaleSS2D
from mmmamba.ops import gather_sums, joined_visit_table

from ...ops.interpreter import DEVICE, gpu

GENERATIONS = {
    "v1": dict(ssm_ratio=2.0, gate=True, coarse_first=True, norm_each=True, upsample="bilinear"),
    "v3": dict(ssm_ratio=1.0),
}


def mixer(generation, dim=16, **changes):
    torch.manual_seed(0)
    made = MultiScaleSS2D(dim, **GENERATIONS[generation] | changes).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def test_every_visit_of_a_coarse_map():
    """The steps of the fact sheet's example, counted from 1, at each cell of 2 x 3."""
    want = [[6, 7, 18], [5, 9, 16], [4, 11, 14], [3, 8, 17], [2, 10, 15], [1, 12, 13]]
    assert (joined_visit_table(MULTI_SCALE[1:], 2, 3) + 1).tolist() == want
    x = torch.zeros(1, 2, 3, 1)
    index_T, visits_LJ = JoinedScan(MULTI_SCALE[1:]).tables(x)
    assert (index_T[visits_LJ.long()] == torch.arange(6)[:, None]).all()


def test_visits_of_routes_with_holes_are_refused():
    with pytest.raises(ValueError, match="not known to visit every position once"):
        joined_visit_table(("window7",), 5, 4)
    with pytest.raises(KeyError, match="no route 'nowhere'"):
        MultiScaleSS2D(16, routes=("row", "nowhere"))


def test_sums_of_rows_and_their_gradient():
    index_T, visits_LJ = JoinedScan(MULTI_SCALE[1:]).tables(torch.zeros(1, 3, 2, 1))
    y = torch.randn(2, 18, 4, dtype=torch.float64, requires_grad=True)
    got = gather_sums(y, visits_LJ, index_T)
    want = torch.zeros(2, 6, 4, dtype=torch.float64).index_add(1, index_T, y)
    torch.testing.assert_close(got, want)
    assert torch.autograd.gradcheck(lambda y: gather_sums(y, visits_LJ, index_T), y)
    assert torch.autograd.gradgradcheck(lambda y: gather_sums(y, visits_LJ, index_T), y)
    torch.testing.assert_close(
        torch.func.jvp(lambda y: gather_sums(y, visits_LJ, index_T), (y,), (y,))[1], want
    )


def recurrence(m, k, u_BTD):
    """Step by step, with parameter set k."""
    rank = m.dt_projs_weight.shape[2]
    rho, B, C = F.linear(u_BTD, m.x_proj_weight[k]).split((rank, 1, 1), -1)
    delta = F.softplus(F.linear(rho, m.dt_projs_weight[k], m.dt_projs_bias[k]))
    D = u_BTD.shape[2]
    A_D, skip_D = -m.A_logs[k * D : (k + 1) * D, 0].exp(), m.Ds[k * D : (k + 1) * D]
    h, steps = 0, []
    for t in range(u_BTD.shape[1]):
        h = (delta[:, t] * A_D).exp() * h + delta[:, t] * B[:, t] * u_BTD[:, t]
        steps.append(C[:, t] * h + skip_D * u_BTD[:, t])
    return torch.stack(steps, 1)


def by_definition(m, x_BHWC, generation):
    x = m.in_proj(x_BHWC)
    x, z = x.chunk(2, -1) if m.gate else (x, None)
    maps = x.permute(0, 3, 1, 2)
    D = maps.shape[1]
    fine = F.silu(F.conv2d(maps, m.conv2d.weight, m.conv2d.bias, padding=1, groups=D))
    strided = dict(stride=2, padding=3, groups=D)
    coarse = F.silu(F.conv2d(maps, m.conv2d_b1.weight, m.conv2d_b1.bias, **strided))
    (H, W), (h, w) = fine.shape[2:], coarse.shape[2:]
    rows, columns = coarse.flatten(2), coarse.transpose(2, 3).flatten(2)
    sequence = torch.cat([rows.flip(2), columns, columns.flip(2)], 2).transpose(1, 2)
    sets = (1, 0) if generation == "v1" else (0, 1)
    y_fine = recurrence(m, sets[0], fine.flatten(2).transpose(1, 2))
    y_coarse = recurrence(m, sets[1], sequence)

    def norm(y):
        return F.layer_norm(y, (D,), m.out_norm.weight, m.out_norm.bias)

    if generation == "v1":
        y_fine, y_coarse = norm(y_fine), norm(y_coarse)
    first, second, third = (part.transpose(1, 2) for part in y_coarse.chunk(3, 1))
    down = (second + third.flip(2)).unflatten(2, (w, h)).transpose(2, 3)
    summed = first.flip(2).unflatten(2, (h, w)) + down
    mode = dict(mode="bilinear", align_corners=False) if generation == "v1" else {}
    y = y_fine.unflatten(1, (H, W)) + F.interpolate(summed, (H, W), **mode).permute(0, 2, 3, 1)
    y = y if generation == "v1" else norm(y)
    hidden = F.relu(F.linear(y.mean((1, 2)), m.se.global_reduce.weight))
    y = y * F.linear(hidden, m.se.channel_select.weight).sigmoid()[:, None, None]
    return m.out_proj(y * F.silu(z) if m.gate else y)


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("size", [(1, 1), (4, 6), (5, 3)])
def test_definition(generation, size):
    m, x = mixer(generation), torch.randn(2, *size, 16, dtype=torch.float64)
    torch.testing.assert_close(m(x), by_definition(m, x, generation))


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=gpu)])
def test_cast_to_half_precision(generation, dtype):
    """On a GPU too, where a scan in float16 returns float32."""
    m, x = mixer(generation).float().to(DEVICE), torch.randn(1, 5, 4, 16, device=DEVICE)
    want, got = m(x), m.to(dtype)(x.to(dtype))
    assert got.dtype == dtype
    assert (got.float() - want).abs().max() < 0.1 * want.std()


@pytest.mark.parametrize(
    "routes", [("column", "row"), ("row",), (("row", "column"), ("row", "row"))]
)
def test_other_routes_are_refused(routes):
    with pytest.raises(ValueError, match="wants one head of routes, 'row' and then"):
        MultiScaleSS2D(16, routes=routes)


def test_both_scans_tell_their_walk():
    m = mixer("v3").float()
    x_BHWD = torch.zeros(1, 3, 2, 16)
    walk = m.coarse.walk(x_BHWD, m.s6())
    assert walk.routes == ("row_reversed column column_reversed",)
    assert walk.cells_GKT.tolist() == [[[5, 4, 3, 2, 1, 0, 0, 2, 4, 1, 3, 5, 5, 3, 1, 4, 2, 0]]]
    assert m.fine.walk(x_BHWD, m.s6()).cells_GKT.tolist() == [[list(range(6))]]
