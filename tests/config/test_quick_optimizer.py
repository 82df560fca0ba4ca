"""Which optimizers are quickened, and that what a config says stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mmmamba.config.quick_optimizer import MERGED, quicken_optimizer

KEYS = dict(custom_keys=dict(norm=dict(decay_mult=0.0)))


@pytest.mark.parametrize(
    "given, more",
    [
        (dict(optimizer=dict(type="AdamW")), {}),
        (dict(optimizer=dict(type=torch.optim.SGD), paramwise_cfg=KEYS), dict(constructor=MERGED)),
    ],
)
def test_it_is_fused_and_in_few_groups(given: dict[str, Any], more: dict[str, str]) -> None:
    wanted = given | more | dict(optimizer=dict(given["optimizer"], fused=True))
    quicken_optimizer(given)
    assert given == wanted


@pytest.mark.parametrize(
    "given",
    [
        dict(optimizer=dict(type="AdamW", foreach=True)),
        dict(optimizer=dict(type="Adam", fused=False), paramwise_cfg=KEYS, constructor="Own"),
        dict(optimizer=dict(type="Lamb")),
        dict(generator=dict(optimizer=dict(type="AdamW")), constructor="Own"),
        {},
    ],
)
def test_what_a_config_says_stays(given: dict[str, Any]) -> None:
    wanted = {**given}
    quicken_optimizer(given)
    assert given == wanted
