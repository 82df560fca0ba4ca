"""Any route can be given to VMamba by name, from a config too."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from mmmamba.layers import SS2D
from mmmamba.models.backbones import VMamba
from mmmamba.ops import list_route_sets, list_routes


def run(routes, **more) -> list[torch.Tensor]:
    cfg = Config(dict(model=dict(type="VMamba", routes=routes, **more, **VMamba.TINY))).model
    torch.manual_seed(0)
    model = MODELS.build(cfg).eval()
    maps = model(torch.randn(1, 3, 72, 104, generator=torch.Generator().manual_seed(0)))
    sum(m.square().sum() for m in maps).backward()
    mixers = [m for m in model.modules() if isinstance(m, SS2D)]
    assert mixers and all(m.x_proj_weight.grad.flatten(1).any(1).all() for m in mixers), (
        "a route without a gradient"
    )
    return [m.detach() for m in maps]


@pytest.mark.parametrize(
    "name", [name for name in list_routes() if not name.startswith(("atrous", "test_"))]
)
def test_every_route_and_its_reverse(name):
    maps = run([name, f"{name}_reversed"])
    assert [tuple(m.shape[2:]) for m in maps] == [(18, 26), (9, 13), (5, 7), (3, 4)]
    assert all(torch.isfinite(m).all() for m in maps)


@pytest.mark.parametrize("name", list_route_sets())
def test_every_set(name):
    assert all(torch.isfinite(m).all() for m in run(name))


def test_heads():
    """Channel groups each on its own routes; other routes give other maps."""
    one = run([["row", "row_reversed"], ["hilbert", "hilbert_reversed"]])
    two = run([["row", "row_reversed"], ["spiral", "spiral_reversed"]])
    assert all(torch.isfinite(m).all() for m in one) and not torch.allclose(one[0], two[0])


def test_a_misspelt_route_is_an_error_before_anything_runs():
    with pytest.raises(KeyError, match="Did you mean 'hilbert'"):
        run(["hilbrt"])


def test_every_second_block_of_a_stage_may_walk_other_routes():
    arch = dict(embed_dims=16, depths=(1, 3))
    model = VMamba(arch=arch, out_indices=(1,), routes="fractal", alternate_routes="cross")
    walked = [m.routes[0] for m in model.modules() if isinstance(m, SS2D)]
    assert walked == ["fractal_curve", "fractal_curve", "row", "fractal_curve"]
    same = VMamba(arch=arch, out_indices=(1,), routes="fractal")
    assert {name: p.shape for name, p in model.state_dict().items()} == {
        name: p.shape for name, p in same.state_dict().items()
    }
    maps = run("fractal", alternate_routes="fractal_shifted")
    assert all(torch.isfinite(m).all() for m in maps)
    with pytest.raises(KeyError, match="Did you mean the set 'fractal_shifted'"):
        run("fractal", alternate_routes="fractal_shiftd")
