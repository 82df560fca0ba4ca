"""Packages of AOTInductor: a program compiled for one kind of device, called without Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from torch.export import ExportedProgram

from ..errors import UsageError

SETTINGS = {
    # Tables of routes stay within the map, and are looked at when they are made.
    "assert_indirect_indexing": False,
}
"""What Inductor is told."""
LOAD = "import sys, torch, mmmamba.ops; torch._inductor.aoti_load_package(sys.argv[1])"


def compile_program(program: ExportedProgram, path: Path) -> None:
    """Compile a program for the device that it was traced on, and write its package.

    Raises:
        UsageError: there is no C++ compiler or no such device here, or Inductor cannot compile it,
            or what it made for a GPU cannot be loaded.
    """
    if not path.name.endswith(".pt2"):
        raise ValueError(f"{path}: packages of AOTInductor end in .pt2")
    device = _device_of(program)
    check_tools(device)
    from torch._dynamo.exc import BackendCompilerFailed
    from torch._inductor.exc import CppCompileError, CppWrapperCodegenError

    try:
        torch._inductor.aoti_compile_and_package(
            program, package_path=os.fspath(path), inductor_configs=SETTINGS
        )
    except (BackendCompilerFailed, CppCompileError, CppWrapperCodegenError) as error:
        said = next((line for line in str(error).splitlines() if line.strip()), "")
        raise UsageError(
            f"AOTInductor of PyTorch {torch.__version__} cannot compile this model for "
            f"{device.type}: {said.strip()[:300]}. Write --format pt2 or onnx"
        ) from error
    if device.type == "cuda":
        check_loads(path)


def check_loads(path: Path) -> None:
    """Make sure that a package can be loaded, in a process of its own.

    PyTorch 2.11 crashes while it loads packages for a GPU that call operators of others.

    Raises:
        UsageError: it cannot.
    """
    command = [sys.executable, "-c", LOAD, os.fspath(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.returncode:
        return
    said = done.stderr.strip().splitlines()
    why = f"it crashes (signal {-done.returncode})" if done.returncode < 0 else said[-1][:300]
    raise UsageError(
        f"PyTorch {torch.__version__} cannot load the package that its AOTInductor made: {why}. "
        "Write --standalone, which calls no operators of mmmamba, or --format pt2"
    )


def check_tools(device: torch.device) -> None:
    """Make sure that there is what AOTInductor compiles with.

    Raises:
        UsageError: a C++ compiler or the device is missing.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise UsageError(
            "aoti files are compiled with a C++ compiler, and there is none: install g++ "
            "(apt-get install g++), or name one with CXX=PATH, or write --format pt2"
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "a package for a GPU is compiled on a machine with one, and PyTorch sees none here: "
            "leave --device cuda out, or export it there"
        )


def _device_of(program: ExportedProgram) -> torch.device:
    tensors = [*program.state_dict.values(), *program.constants.values()]
    devices = {one.device for one in tensors if isinstance(one, torch.Tensor)}
    gpus = [device for device in devices if device.type == "cuda"]
    return gpus[0] if gpus else torch.device("cpu")
