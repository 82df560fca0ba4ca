"""TF32 is on where a GPU is, said, recorded, and taken back."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from mmmamba.engine.reliability.resume.changed import changes
from mmmamba.engine.tf32 import choose_tf32, record_tf32, tf32_products
from mmmamba.errors import UsageError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def settings() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    ("asked", "cfg", "wanted"),
    [
        (None, None, True),
        (False, None, False),
        (None, Config(dict(env_cfg=None, randomness=None)), True),
        (None, Config(dict(randomness=dict(deterministic=True))), False),
        (True, Config(dict(randomness=dict(deterministic=True))), True),
        (None, Config(dict(env_cfg=dict(tf32=False))), False),
        (True, Config(dict(env_cfg=dict(tf32=False))), True),
    ],
)
def test_what_is_chosen(asked: bool | None, cfg: Config | None, wanted: bool) -> None:
    assert choose_tf32(asked, GPU, cfg) is wanted
    if not asked:
        assert choose_tf32(asked, CPU, cfg) is None


def test_a_cpu_has_none() -> None:
    with pytest.raises(UsageError, match="--tf32 on is for GPUs, and this runs on cpu"):
        choose_tf32(True, CPU)


@pytest.mark.parametrize("on", [True, False])
def test_it_holds_for_a_while_and_is_said(on: bool, caplog: pytest.LogCaptureFixture) -> None:
    before = settings()
    with caplog.at_level("INFO", "mmmamba"), pytest.raises(KeyError), tf32_products(on):
        assert settings() == (on, on)
        raise KeyError
    assert settings() == before
    (record,) = caplog.records
    assert ("in TF32 (--tf32 off: exact)" if on else "are exact") in record.getMessage()


def test_without_a_gpu_nothing_is_touched(caplog: pytest.LogCaptureFixture) -> None:
    before = settings()
    with caplog.at_level("INFO", "mmmamba"), tf32_products(None):
        assert settings() == before
    assert not caplog.records


def test_a_resumed_run_is_told_of_another_setting() -> None:
    run, now, cpu = (Config(dict(env_cfg=dict(cudnn_benchmark=False))) for _ in range(3))
    record_tf32(run, True)
    record_tf32(now, False)
    record_tf32(cpu, None)
    (change,) = changes(now.pretty_text, run.pretty_text)
    assert str(change) == "env_cfg.tf32 is False, in the run True"
    assert change.taken == "the config's"
    assert "tf32" not in cpu.env_cfg
