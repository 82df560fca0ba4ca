"""Groups of channels side by side are the mixers of each, one by one."""

import pytest
import torch
import torch.nn.functional as F

from mmmamba.layers import CROSS, SS2D, GroupedSS2D, ModulatedGroupMamba


def image(dim: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, 5, dim, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("routes", [CROSS, ("column", "snake", "row_reversed")])
def test_one_scan_is_a_mixer_for_each_group(routes):
    torch.manual_seed(0)
    grouped, x, G = GroupedSS2D(12, routes, d_state=2).double(), image(), len(routes)
    for parameter in grouped.parameters():
        torch.nn.init.normal_(parameter)
    outputs = []
    for g, (route, part) in enumerate(zip(routes, x.chunk(G, -1))):
        alone = SS2D(
            12 // G, d_state=2, ssm_ratio=1.0, routes=(route,), gate=True, conv_bias=True
        ).double()
        own = {name: value.chunk(G)[g] for name, value in grouped.state_dict().items()}
        alone.load_state_dict(own)
        outputs.append(alone(part))
    torch.testing.assert_close(grouped(x), torch.cat(outputs, -1))
    walk = grouped.walk(x)
    assert walk.routes == routes and walk.heads == G


def test_channels_that_groups_cannot_share_are_refused():
    with pytest.raises(ValueError, match="4 heads, which cannot share 10"):
        GroupedSS2D(10)


def test_what_groups_make_is_modulated():
    torch.manual_seed(0)
    layer = ModulatedGroupMamba(32).double()
    layer.skip_scale.data.fill_(0.3)
    n = layer.norm(image(32))
    hidden = F.relu(layer.affinity.global_reduce(n.mean((1, 2))))
    a = layer.affinity.channel_select(hidden).sigmoid()[:, None, None]
    want = layer.proj(layer.norm(layer.groups(n) * 0.3 * n * a))
    torch.testing.assert_close(layer(n), want)
