"""`auto` takes what the config says and the device is fast in; the rest is told."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from mmmamba.engine.precision import (
    Hardware,
    Precision,
    choose_precision,
    hardware_of_cpu,
    hardware_of_gpu,
)
from mmmamba.errors import UsageError

CPU, GPU = torch.device("cpu"), torch.device("cuda")
PASCAL = hardware_of_gpu("GTX 1080", (6, 1))
TURING = hardware_of_gpu("T4", (7, 5))
HOPPER = hardware_of_gpu("H200", (9, 0))
OLD_CPU = hardware_of_cpu({"avx2", "avx512f"})
NEW_CPU = hardware_of_cpu({"avx512f", "avx512_bf16"})
AMX_CPU = hardware_of_cpu({"amx_bf16", "amx_tile", "avx512_fp16"})


def amp(**settings: object) -> Config:
    return Config(dict(optim_wrapper=dict(type="AmpOptimWrapper", **settings)))


@pytest.mark.parametrize(
    ("device", "hardware", "wanted", "why"),
    [
        (GPU, HOPPER, torch.float16, "H200 is fast in it"),
        (GPU, TURING, torch.float16, "T4 is fast in it"),
        (GPU, PASCAL, torch.float32, "GTX 1080 is not faster in half precision"),
        (CPU, NEW_CPU, torch.bfloat16, "avx512_bf16"),
        (CPU, AMX_CPU, torch.bfloat16, "amx_bf16"),
        (CPU, OLD_CPU, torch.float32, "a CPU without amx_bf16 and avx512_bf16"),
        (torch.device("mps"), None, torch.float32, "type mps"),
    ],
)
def test_what_the_device_is_fast_in(
    device: torch.device, hardware: Hardware | None, wanted: torch.dtype, why: str
) -> None:
    chosen = choose_precision("auto", device, hardware=hardware)
    assert chosen.dtype == wanted and why in str(chosen)


@pytest.mark.parametrize(
    ("cfg", "device", "hardware", "wanted"),
    [
        (amp(dtype="bfloat16"), GPU, HOPPER, torch.bfloat16),
        (amp(dtype="float16"), GPU, HOPPER, torch.float16),
        (amp(), GPU, HOPPER, torch.float16),
        (amp(dtype=None), GPU, HOPPER, torch.float16),
        # What the device cannot do falls to what it is fast in.
        (amp(dtype="bfloat16"), GPU, TURING, torch.float16),
        (amp(dtype="bfloat16"), CPU, OLD_CPU, torch.float32),
        (amp(dtype="float16"), CPU, NEW_CPU, torch.bfloat16),
        (Config(dict(optim_wrapper=dict(type="OptimWrapper"))), GPU, HOPPER, torch.float16),
        (Config(dict(test_cfg=dict(fp16=False))), GPU, HOPPER, torch.float32),
        (Config(dict(test_cfg=dict(fp16=True))), GPU, HOPPER, torch.float16),
        # The test's own setting before that of the training.
        (Config({**amp()._cfg_dict, "test_cfg": dict(fp16=False)}), GPU, HOPPER, torch.float32),
        (Config(dict(test_cfg=None, optim_wrapper=None)), GPU, HOPPER, torch.float16),
    ],
)
def test_what_the_config_says(
    cfg: Config, device: torch.device, hardware: Hardware, wanted: torch.dtype
) -> None:
    assert choose_precision("auto", device, cfg, hardware).dtype == wanted
    for name in ("float32", "float16" if device is GPU else "bfloat16"):
        assert choose_precision(name, device, cfg, hardware).name == name, "the option comes first"


@pytest.mark.parametrize(("hardware", "after"), [(HOPPER, torch.bfloat16), (TURING, torch.float32)])
def test_auto_knows_what_comes_after_an_overflow(hardware: Hardware, after: torch.dtype) -> None:
    assert choose_precision("auto", GPU, hardware=hardware).after_overflow == after
    assert choose_precision("auto", GPU, amp(), hardware).after_overflow == after
    assert choose_precision("float16", GPU, hardware=hardware).after_overflow is None


@pytest.mark.parametrize(
    ("asked", "device", "hardware", "message"),
    [
        ("half", GPU, HOPPER, "'half', wanted one of auto, float32, float16, bfloat16"),
        ("float16", CPU, NEW_CPU, "float16 is for GPUs.*--precision bfloat16"),
        ("bfloat16", GPU, TURING, "T4 does not compute in bfloat16.*--precision float16"),
    ],
)
def test_what_cannot_be(asked: str, device: torch.device, hardware: Hardware, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_precision(asked, device, hardware=hardware)


def test_a_cpu_without_bfloat16_computes_in_it_when_told() -> None:
    assert choose_precision("bfloat16", CPU, hardware=OLD_CPU).dtype == torch.bfloat16


def test_the_context_is_autocast_or_none_of_it() -> None:
    x, layer = torch.ones(2, 4), torch.nn.Linear(4, 4)
    with Precision(torch.bfloat16, CPU, "").context():
        assert layer(x).dtype == torch.bfloat16
        with Precision(torch.float32, CPU, "").context():
            assert layer(x).dtype == torch.float32
    assert layer(x).dtype == torch.float32
