"""In which precision a network predicts: chosen in one place, with the reason."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config

from ..config.signatures import class_name
from ..errors import UsageError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
CHOICES = ("auto", *DTYPES)
"""What `--precision` takes."""
HALF = (torch.float16, torch.bfloat16)
TENSOR_CORES = (7, 0)
"""From this compute capability on a GPU multiplies float16 several times as fast (Volta)."""
AMPERE = (8, 0)
"""From this compute capability on it does so with bfloat16."""
CPU_FLAGS = ("amx_bf16", "avx512_bf16")
"""Flags of a processor that multiplies bfloat16 faster than float32, as Linux names them."""


@dataclass(frozen=True)
class Precision:
    """The precision of predictions on a device."""

    dtype: torch.dtype
    """What autocast casts to; float32: nothing is cast."""
    device: torch.device
    why: str
    after_overflow: torch.dtype | None = None
    """What is taken once values are found beyond the range of float16; None: they are an error."""

    @property
    def name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def is_half(self) -> bool:
        return self.dtype in HALF

    def __str__(self) -> str:
        return f"{self.name} ({self.why})"

    def context(self) -> contextlib.AbstractContextManager:
        """Autocast; for float32 off, also where a caller has turned it on."""
        half = self.is_half
        return torch.autocast(self.device.type, self.dtype if half else None, enabled=half)


class Hardware(NamedTuple):
    """What a device multiplies faster than float32."""

    what: str
    """The device in the words of a reason."""
    float16: bool
    bfloat16: bool

    def has(self, dtype: torch.dtype) -> bool:
        return {torch.float16: self.float16, torch.bfloat16: self.bfloat16}.get(dtype, True)


def choose_precision(
    asked: str, device: torch.device, cfg: Config | None = None, hardware: Hardware | None = None
) -> Precision:
    """The precision of predictions.

    `auto` takes what the config says: `fp16` of `test_cfg`, or the dtype of the `AmpOptimWrapper`
    that it trains with. Otherwise half precision where the device is fast in it. On a GPU that is
    float16, which keeps 11 bits of a number where bfloat16 keeps 8; what lies beyond its range is
    noticed (`predict_in`). A CPU computes in bfloat16 or float32.

    Args:
        asked: one of `CHOICES`.
        cfg: the network's.
        hardware: of the device; looked up if None.

    Raises:
        UsageError: no such precision, or the device cannot compute in the one that is named.
    """
    if asked not in CHOICES:
        raise UsageError(f"precision is {asked!r}, wanted one of {', '.join(CHOICES)}")
    hardware = hardware or hardware_of(device)
    if asked != "auto":
        return Precision(_named(asked, device, hardware), device, "asked for")
    said = _said_by(cfg)
    if said is not None and hardware.has(said.dtype):
        return _automatic(said.dtype, device, f"{said.where} of the config says so", hardware)
    for dtype in HALF:
        if hardware.has(dtype):
            return _automatic(dtype, device, f"{hardware.what} is fast in it", hardware)
    return Precision(torch.float32, device, f"{hardware.what} is not faster in half precision")


def hardware_of(device: torch.device) -> Hardware:
    """What a device is fast in."""
    if device.type == "cuda":
        return hardware_of_gpu(
            torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
        )
    if device.type == "cpu":
        return hardware_of_cpu(_cpu_flags())
    return Hardware(f"a device of type {device.type}, as far as is known,", False, False)


def hardware_of_gpu(name: str, capability: tuple[int, int]) -> Hardware:
    """What a GPU of a compute capability is fast in."""
    return Hardware(name, capability >= TENSOR_CORES, capability >= AMPERE)


def hardware_of_cpu(flags: set[str]) -> Hardware:
    """What a CPU with these flags is fast in."""
    found = next((flag for flag in CPU_FLAGS if flag in flags), None)
    if found is None:
        return Hardware(f"a CPU without {' and '.join(CPU_FLAGS)}", False, False)
    # Some have float16 too (avx512_fp16, amx_fp16); PyTorch's operators for it are few.
    return Hardware(f"a CPU with {found}", False, True)


def _cpu_flags() -> set[str]:
    """The flags of the first processor that Linux lists; none elsewhere."""
    # Older versions of PyTorch that are supported say nothing about bfloat16 in public.
    listed = Path("/proc/cpuinfo")
    for line in listed.read_text().splitlines() if listed.exists() else ():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return set(value.split())
    return set()


def _named(name: str, device: torch.device, hardware: Hardware) -> torch.dtype:
    """The dtype that was asked for by name."""
    dtype = DTYPES[name]
    if dtype == torch.float16 and device.type == "cpu":
        raise UsageError(
            "float16 is for GPUs: on a CPU PyTorch computes in bfloat16 or float32. "
            "--precision bfloat16"
        )
    if dtype == torch.bfloat16 and device.type == "cuda" and not hardware.bfloat16:
        raise UsageError(
            f"{hardware.what} does not compute in bfloat16, which GPUs from Ampere on do. "
            "--precision float16"
        )
    return dtype


def _automatic(dtype: torch.dtype, device: torch.device, why: str, hardware: Hardware) -> Precision:
    if dtype != torch.float16:
        return Precision(dtype, device, why)
    wider = torch.bfloat16 if hardware.bfloat16 else torch.float32
    return Precision(dtype, device, why, wider)


class _Said(NamedTuple):
    """What a config says of its precision."""

    dtype: torch.dtype
    where: str


def _said_by(cfg: Config | None) -> _Said | None:
    test_cfg: Any = (cfg.get("test_cfg") if cfg is not None else None) or {}
    if "fp16" in test_cfg:
        return _Said(torch.float16 if test_cfg["fp16"] else torch.float32, "test_cfg.fp16")
    wrapper: Any = (cfg.get("optim_wrapper") if cfg is not None else None) or {}
    if "type" not in wrapper or class_name(wrapper["type"]) != "AmpOptimWrapper":
        return None
    # Without a dtype PyTorch trains in float16.
    dtype = DTYPES.get(wrapper.get("dtype") or "float16")
    return None if dtype is None else _Said(dtype, "the AmpOptimWrapper")
