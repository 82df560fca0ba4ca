"""What runs PyTorch's own files: programs of `torch.export` and packages of AOTInductor.

Open only those that you trust: the latter hold machine code, and PyTorch reads the former with
pickle.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np
import torch
from torch.export.passes import move_to_device_pass

from ... import ops
from ...errors import UsageError
from ..metadata import Metadata
from .archives import read_from_archive
from .base import Runtime, first_line
from .looks import looks_like

PROGRAM = "file of torch.export"
PACKAGE = "package of AOTInductor"


class TorchFile(Runtime):
    """Calls of a function of tensors on a device."""

    kind: str

    def __init__(self, path: Path, device: str, threads: int | None, metadata: Metadata) -> None:
        super().__init__(path, metadata)
        self._device = _device(device)
        self._threads = threads
        place = "CPU" if self._device.type == "cpu" else str(self._device).upper()
        self.name = f"{self.kind} {torch.__version__.split('+')[0]} ({place})"
        try:
            self._call = self._load(path)
        except (RuntimeError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise UsageError(
                f"PyTorch {torch.__version__} cannot load {path}: {first_line(error)}"
            ) from error

    def _load(self, path: Path) -> Callable[..., tuple[torch.Tensor, ...]]:
        raise NotImplementedError

    def _run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        # A copy: PyTorch does not take arrays that may not be written to.
        tensors = [torch.from_numpy(array.copy()).to(self._device) for array in inputs.values()]
        with torch.no_grad(), threads_of_torch(self._threads):
            try:
                found = self._call(*tensors)
            except (RuntimeError, AssertionError) as error:
                raise UsageError(
                    f"{self.name} could not run {self.path.name}: {first_line(error)}"
                ) from error
        found = found if isinstance(found, (tuple, list)) else (found,)
        arrays = [tensor.detach().cpu().numpy() for tensor in found]
        return dict(zip(self.metadata.outputs, arrays))


class TorchExport(TorchFile):
    """A program of `torch.export`, on any device."""

    kind = "torch.export"

    def __init__(
        self, path: Path, device: str, threads: int | None, metadata: Metadata | None = None
    ) -> None:
        refuse_other(path, PROGRAM)
        super().__init__(path, device, threads, metadata or read_from_archive(path, PROGRAM))

    def _load(self, path: Path) -> Callable[..., tuple[torch.Tensor, ...]]:
        register_operators()
        program = torch.export.load(path)
        if self._device.type != "cpu":
            program = move_to_device_pass(program, self._device)
        return program.module()


class Inductor(TorchFile):
    """A package of AOTInductor, on the device that it was compiled for."""

    kind = "AOTInductor"

    def __init__(
        self, path: Path, device: str, threads: int | None, metadata: Metadata | None = None
    ) -> None:
        refuse_other(path, PACKAGE)
        metadata = metadata or read_from_archive(path, PACKAGE)
        compiled = compiled_for(path)
        if compiled is not None and compiled != device.partition(":")[0]:
            raise UsageError(
                f"{path} was compiled for {compiled} and does not run on {device}: write "
                f"--device {compiled}, or export it again with --device {device}"
            )
        super().__init__(path, device, threads, metadata)

    def _load(self, path: Path) -> Callable[..., tuple[torch.Tensor, ...]]:
        register_operators()
        # Older versions of PyTorch know the first device alone.
        index = self._device.index
        settings: dict[str, Any] = {} if index is None else dict(device_index=index)
        return torch._inductor.aoti_load_package(os.fspath(path), **settings)


def register_operators() -> None:
    """Make PyTorch know all operators of ours that a program may call: each file registers its."""
    for module in iter_modules(ops.__path__, f"{ops.__name__}."):
        import_module(module.name)


@contextmanager
def threads_of_torch(threads: int | None) -> Iterator[None]:
    """PyTorch with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def refuse_other(path: Path, wanted: str) -> None:
    """Raise what a file is that is none of the wanted kind."""
    found = looks_like(path)
    if not found.startswith(f"a {wanted}"):
        raise UsageError(f"{path} is no {wanted}: it is {found}")


def compiled_for(path: Path) -> str | None:
    """`cpu` or `cuda`, as a package says it of itself."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith("_metadata.json"):
                device = json.loads(archive.read(name)).get("AOTI_DEVICE_KEY")
                if device:
                    return str(device)
    return None


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"{name!r} is no device. Write cpu, cuda or cuda:1") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"there is no device {name}: PyTorch sees {torch.cuda.device_count()} GPUs here. "
            "Write cpu"
        )
    return device
