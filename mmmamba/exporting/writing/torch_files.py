"""Files for PyTorch: programs of `torch.export`, and packages of AOTInductor."""

from __future__ import annotations

from pathlib import Path

from torch.export import ExportedProgram

from ...errors import UsageError
from ..aoti import check_tools, compile_program
from ..metadata import Metadata
from ..pt2 import check_alone, our_operators, save_program
from ..runtimes.archives import write_to_archive
from .base import Job


class TorchExportWriter:
    """Programs; with our operators, whose kernels are the faster, unless it is asked for others."""

    needs: tuple[str, ...] = ()

    def write(self, job: Job, path: Path) -> None:
        _refuse_half(job)
        save_program(_program(job, standalone=bool(job.request.standalone)), path)

    def describe(self, path: Path, metadata: Metadata) -> None:
        write_to_archive(path, metadata)


class InductorWriter:
    """Programs compiled for one kind of device, without our operators where that is possible."""

    needs: tuple[str, ...] = ()

    def write(self, job: Job, path: Path) -> None:
        _refuse_half(job)
        check_tools(next(job.graph.parameters()).device)
        program = _program(job, standalone=job.request.standalone is not False)
        job.log("compiling, which takes minutes")
        compile_program(program, path)

    def describe(self, path: Path, metadata: Metadata) -> None:
        write_to_archive(path, metadata)


def _program(job: Job, standalone: bool) -> ExportedProgram:
    program = job.program(lowered=standalone, unrolled=standalone)
    if job.request.standalone:
        check_alone(program)
    ours = our_operators(program)
    if ours:
        job.log(f"who loads it imports mmmamba.ops first: it calls {', '.join(ours)}")
    return program


def _refuse_half(job: Job) -> None:
    if job.request.half:
        raise UsageError(
            f"--half is for onnx and openvino: files of {job.request.format} compute in the "
            "precision that PyTorch is told to where they are called. Leave it out"
        )
