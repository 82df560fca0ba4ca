"""Casts that are kept are the numbers of autocast, and never old ones."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from mmcv.cnn import ConvAWS2d, ConvModule
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmmamba.engine.kept_casts import KeptCasts
from mmmamba.models.backbones import MambaVision, VMamba

HALF = torch.bfloat16


class Casts(TorchDispatchMode):
    """Counts conversions between dtypes."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._to_copy.default
        return function(*args, **(kwargs or {}))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        ConvModule(3, 4, 3, norm_cfg=dict(type="BN")),
        ConvAWS2d(4, 4, 1),
        nn.Conv2d(4, 6, 1, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 2),
    ).eval()


def as_list(maps: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    return [maps] if isinstance(maps, Tensor) else list(maps)


def kept_of(casts: KeptCasts, layer: nn.Module) -> Tensor:
    with torch.autocast("cpu", HALF), casts.within(HALF):
        return casts.of(layer)[0]


@torch.no_grad()
def under_autocast(model: nn.Module, x: Tensor, casts: KeptCasts | None = None) -> Tensor:
    with torch.autocast("cpu", HALF):
        if casts is None:
            return model(x)
        with casts.within(HALF):
            return model(x)


@pytest.mark.parametrize("kind", [network, MambaVision, VMamba])
def test_the_numbers_are_those_of_autocast(kind) -> None:
    plain = kind() if kind is network else kind(**kind.TINY).eval()
    model, x = deepcopy(plain), torch.randn(2, 3, 64, 64)
    names = list(model.state_dict())
    casts = KeptCasts(model, "cpu")
    assert list(model.state_dict()) == names
    with Casts() as before:
        want = under_autocast(plain, x)
    under_autocast(model, x, casts)
    with Casts() as after:
        got = under_autocast(model, x, casts)
    assert all(map(torch.equal, as_list(want), as_list(got)))
    # On a CPU a backbone's own layers keep theirs by themselves.
    assert after.count < before.count or kind is not network
    # Outside of `within` and of autocast nothing is other than it was.
    with torch.no_grad():
        exact, same = plain(x), model(x)
        with casts.within(HALF):
            inside = model(x)
    for one, other, third in zip(*map(as_list, (exact, same, inside))):
        assert one.dtype == torch.float32 and torch.equal(one, other) and torch.equal(one, third)


def test_other_values_are_cast_anew() -> None:
    model, x = network(), torch.randn(2, 3, 16, 16)
    casts = KeptCasts(model, "cpu")
    under_autocast(model, x, casts)
    other = network()
    nn.init.ones_(other[-1].weight)
    nn.init.ones_(other[2].weight)
    memory = kept_of(casts, model[2]).data_ptr()
    model.load_state_dict(other.state_dict())
    assert torch.equal(under_autocast(model, x, casts), under_autocast(other, x))
    # A CUDA graph may read from there.
    assert kept_of(casts, model[2]).data_ptr() == memory
    # A parameter in the place of another.
    model[-1].weight = nn.Parameter(torch.zeros(2, 6))
    assert (under_autocast(model, x, casts) == model[-1].bias.bfloat16()).all()


def test_a_dtype_keeps_its_memory_while_another_serves() -> None:
    model = network()
    casts = KeptCasts(model, "cpu")
    memory = kept_of(casts, model[2]).data_ptr()
    with torch.autocast("cpu", torch.float16), casts.within(torch.float16):
        assert casts.of(model[2])[0].dtype == torch.float16
    assert kept_of(casts, model[2]).data_ptr() == memory and kept_of(casts, model[2]).dtype == HALF


def test_a_copy_has_its_own() -> None:
    model, x = network(), torch.randn(2, 3, 16, 16)
    holder = nn.Module()
    holder.model, holder.casts = model, KeptCasts(model, "cpu")
    want = under_autocast(model, x, holder.casts)
    copy = deepcopy(holder)
    nn.init.zeros_(copy.model[-1].weight)
    assert (under_autocast(copy.model, x, copy.casts) == model[-1].bias.bfloat16()).all()
    assert torch.equal(under_autocast(model, x, holder.casts), want)
