"""`with_cp` changes neither outputs nor gradients nor running means, and keeps little in memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributed._tools.mem_tracker import MemTracker

from mmmamba.layers.recomputed import recomputed
from mmmamba.models.trunks.base import MambaBackbone

FAMILIES = {family.__name__: family for family in MambaBackbone.families()}
every_family = pytest.mark.parametrize("family", FAMILIES)


def build(family: str, with_cp: bool) -> MambaBackbone:
    torch.manual_seed(0)
    return FAMILIES[family](**FAMILIES[family].TINY, drop_path_rate=0.3, with_cp=with_cp).train()


def image(side: int) -> Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def loss(maps: tuple[Tensor, ...]) -> Tensor:
    return sum((m * torch.linspace(-1, 1, m.numel()).view_as(m)).sum() for m in maps)


@every_family
def test_a_step_is_the_same_bit_for_bit(family: str) -> None:
    """Random paths are dropped alike, and batch norms count the batch once."""
    seen = {}
    for with_cp in (False, True):
        model = build(family, with_cp)
        torch.manual_seed(1)
        maps = model(image(64))
        loss(maps).backward()
        gradients = {name: p.grad for name, p in model.named_parameters()}
        seen[with_cp] = {**dict(enumerate(maps)), **gradients, **dict(model.named_buffers())}
    different = [
        name
        for name, value in seen[False].items()
        if value is not None and not torch.equal(value, seen[True][name])
    ]
    assert not different


def kept(family: str, with_cp: bool) -> int:
    """Bytes that wait for the backward pass."""
    model, x = build(family, with_cp), image(96)
    tracker = MemTracker()
    tracker.track_external(model, x)
    with tracker:
        maps = model(x)
        found = tracker.get_tracker_snapshot("current")[torch.device("cpu")]
    outputs = sum(m.nbytes for m in maps)
    return (
        sum(
            size
            for kind, size in found.items()
            if getattr(kind, "name", kind) in ("ACT", "TEMP", "OTH")
        )
        - outputs
    )


@every_family
def test_less_waits_for_the_backward_pass(family: str) -> None:
    """Stages have one block here, whose input is kept; stems and steps keep all of theirs."""
    assert kept(family, True) < 0.6 * kept(family, False)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norms_are_as_they_were(momentum: float | None) -> None:
    """After a recomputation that ends early, too."""
    inner = nn.Sequential(
        nn.Linear(4, 4), nn.BatchNorm1d(4, momentum=momentum), nn.Linear(4, 4), nn.Identity()
    )
    x = torch.randn(8, 4, requires_grad=True)
    recomputed(inner, x).sum().backward()
    norm = inner[1]
    assert norm.momentum == momentum and norm.num_batches_tracked.item() == 1
    rate = 1.0 if momentum is None else momentum
    assert torch.allclose(norm.running_mean, rate * inner[0](x).mean(0))
