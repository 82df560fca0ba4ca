"""Published stems take red, green and blue; a backbone for other channels begins with them."""

from __future__ import annotations

import pytest
import torch

from mmmamba.checkpoints import CheckpointError, load_weights
from mmmamba.models.trunks.base import MambaBackbone

FAMILIES = {family.__name__: family for family in MambaBackbone.families() if family.TINY}


def same(one: tuple, other: tuple) -> None:
    for ours, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_channels_behind_the_colours_begin_at_nothing(name: str) -> None:
    family = FAMILIES[name]
    torch.manual_seed(0)
    published, four = family(**family.TINY).eval(), family(**family.TINY, in_channels=4).eval()
    assert "the other 1 begin at 0" in str(load_weights(four, published.state_dict()))
    image_14HW = torch.randn(1, 4, 64, 64)
    with torch.inference_mode():
        same(four(image_14HW), published(image_14HW[:, :3]))


def test_one_channel_is_grey() -> None:
    family = FAMILIES["VMamba"]
    published, grey = family(**family.TINY).eval(), family(**family.TINY, in_channels=1).eval()
    assert "summed for one channel" in str(load_weights(grey, published.state_dict()))
    image_11HW = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        same(grey(image_11HW), published(image_11HW.expand(-1, 3, -1, -1)))


def test_two_channels_are_refused_with_the_reason() -> None:
    family = FAMILIES["VMamba"]
    state = family(**family.TINY).state_dict()
    with pytest.raises(CheckpointError, match="in_channels=2: published stems take red, green"):
        load_weights(family(**family.TINY, in_channels=2), state)
