"""Files on a GPU: PyTorch's give what the CPU gives, onnxruntime runs there or says why not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmmamba.errors import UsageError
from mmmamba.exporting.graphs import graph_of
from mmmamba.exporting.pt2 import our_operators, torch_program
from mmmamba.exporting.runtimes import open_runtime, write_to_archive
from mmmamba.exporting.runtimes.onnx_runtime import CUDA
from mmmamba.exporting.verify import trial_batches, verify

from .onnx.test_families import every_family, smallest
from .small_files import Conv, conv_metadata, write_conv

pytestmark = pytest.mark.gpu
FIXED = conv_metadata(size=(64, 96))


def program(device: str) -> torch.export.ExportedProgram:
    return torch.export.export(Conv().eval().to(device), (torch.zeros(1, 3, 64, 96).to(device),))


def check(path: Path) -> None:
    runtime = open_runtime(path, "cuda")
    assert "CUDA" in runtime.name
    batches = trial_batches(FIXED.inputs)
    for device in ("cpu", "cuda"):
        report = verify(Conv().to(device), runtime, batches)
        assert report.passed, report.lines()


@pytest.mark.parametrize("written_on", ["cpu", "cuda"])
def test_a_program_of_torch_export(tmp_path, written_on):
    torch.export.save(program(written_on), tmp_path / "m.pt2")
    write_to_archive(tmp_path / "m.pt2", FIXED)
    check(tmp_path / "m.pt2")


def test_a_package_of_aot_inductor(tmp_path):
    path = tmp_path / "m.aoti.pt2"
    torch._inductor.aoti_compile_and_package(program("cuda"), package_path=str(path))
    write_to_archive(path, FIXED)
    check(path)
    with pytest.raises(UsageError, match="compiled for cuda and does not run on cpu"):
        open_runtime(path)


def test_onnxruntime(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = write_conv(tmp_path / "m.onnx", FIXED)
    if CUDA in onnxruntime.get_available_providers():
        check(path)
        return
    with pytest.raises(UsageError, match="was built without CUDAExecutionProvider"):
        open_runtime(path, "cuda")


@every_family
@pytest.mark.parametrize("standalone", [True, False])
def test_programs_traced_on_a_gpu(family, standalone):
    torch.manual_seed(0)
    graph = graph_of(smallest(family)).eval().cuda()
    x = torch.randn(1, 3, 64, 64, device="cuda")
    program = torch_program(graph, [x], standalone=standalone)
    assert not (standalone and our_operators(program))
    with torch.no_grad():
        for got, want in zip(program.module()(x), graph(x), strict=True):
            assert (got - want).abs().max() <= 2e-3 * want.std()
