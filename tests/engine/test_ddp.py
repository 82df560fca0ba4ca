"""How DDP is set up where a config says nothing of it."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from mmmamba.engine.ddp import choose_ddp

GPU = torch.device("cuda")
MADE = dict(
    type="MMDistributedDataParallel",
    broadcast_buffers=False,
    find_unused_parameters=True,
    gradient_as_bucket_view=True,
)


@pytest.mark.parametrize("named", [None, dict(MADE, find_unused_parameters=False, device_ids=None)])
def test_gradients_lie_where_they_are_exchanged(named: dict | None) -> None:
    """Also with the resolved config of an earlier run, whose flags may be others now."""
    settings = dict(launcher="slurm", find_unused_parameters=True, model_wrapper_cfg=named)
    cfg = Config(settings)
    choose_ddp(cfg, GPU)
    assert cfg.model_wrapper_cfg == MADE


@pytest.mark.parametrize(
    "settings",
    [
        dict(launcher="none"),
        dict(launcher="pytorch", model_wrapper_cfg=dict(type="Own")),
        dict(launcher="pytorch", model_wrapper_cfg=dict(MADE, static_graph=True)),
    ],
)
def test_what_a_config_says_stays(settings: dict) -> None:
    cfg = Config(settings)
    choose_ddp(cfg, GPU)
    assert cfg.to_dict() == settings


def test_fsdp_is_left_to_its_runner() -> None:
    settings = dict(launcher="pytorch", runner_type="FSDPRunner")
    cfg = Config(settings)
    choose_ddp(cfg, GPU)
    assert cfg.to_dict() == settings
