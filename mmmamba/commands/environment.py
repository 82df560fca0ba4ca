"""The machine and the versions that a measurement or a report is about."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ..compat.extension import compiled_extension
from ..version import __version__

PACKAGES = (
    "torch",
    "torchvision",
    "triton",
    "onedl-mmengine",
    "onedl-mmcv",
    "onedl-mmdetection",
    "onedl-mmsegmentation",
    "onedl-mmpretrain",
    "numba",
    "numpy",
    "opencv-python-headless",
    "pycocotools",
    "timm",
    "mamba-ssm",
    "faster-coco-eval",
)


def versions() -> dict[str, str]:
    """Versions of Python and of what results depend on; "not installed" where something is not."""
    ours = {"mmmamba": __version__, "Python": platform.python_version()}
    return ours | {name: _version(name) for name in PACKAGES}


def hardware(device: torch.device) -> str:
    """A line about a device: name, memory, and what it can do."""
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        return (
            f"{found.name}, {found.total_memory / 2**30:.0f} GiB, compute capability "
            f"{found.major}.{found.minor}, CUDA {torch.version.cuda}"
        )
    # A container or a job may have fewer cores than the machine.
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{cpu_name()}, {usable} of {os.cpu_count()} cores usable, {torch.get_num_threads()} "
        f"threads in PyTorch (OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')})"
    )


def cpu_name() -> str:
    """As the kernel calls it."""
    # Where Linux tells the model: Python's own answer there is the architecture or nothing.
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def mmcv_operators() -> str:
    """What answers for mmcv's compiled operators."""
    compiled = compiled_extension()
    if compiled:
        return f"compiled: {compiled}"
    return "mmmamba.compat (torchvision, PyTorch): no compiled mmcv._ext"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
