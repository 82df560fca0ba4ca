"""Packages of AOTInductor give what the model gives; what is missing is said in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from mmmamba.errors import UsageError
from mmmamba.exporting.aoti import check_loads, check_tools, compile_program
from mmmamba.exporting.graphs import Graph
from mmmamba.exporting.pt2 import torch_program
from tests.exporting.test_pt2 import close, images, tiny

FOREIGN = """
import sys
import torch
sys.modules["mmmamba"] = None
call = torch._inductor.aoti_load_package(sys.argv[1])
x, want = torch.load(sys.argv[2])
for a, b in zip(call(x), want, strict=True):
    assert (a - b).abs().max() <= 2e-5 * b.std()
"""


class Small(Graph):
    """One convolution, as a compiler takes its time."""

    task = "backbone"
    output_names = ("map0",)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, *inputs):
        return (self.conv(inputs[0]).relu(),)


def package(program: torch.export.ExportedProgram, folder: Path):
    path = folder / "n.aoti.pt2"
    compile_program(program, path)
    return torch._inductor.aoti_load_package(os.fspath(path))


@pytest.mark.slow
def test_a_small_graph(tmp_path: Path) -> None:
    graph, x = Small().eval(), images(2, 32, 40)
    call = package(torch_program(graph, [x]), tmp_path)
    with torch.no_grad():
        close(call(x), graph(x))


@pytest.mark.slow
@pytest.mark.parametrize("standalone", [False, True])
def test_a_backbone(tmp_path: Path, standalone: bool) -> None:
    graph, x = tiny(), images(1, 64, 96)
    call = package(torch_program(graph, [x], standalone=standalone), tmp_path)
    with torch.no_grad():
        want = graph(x)
        close(call(x), want)
    if standalone:
        torch.save((x, want), tmp_path / "case.pth")
        command = [sys.executable, "-c", FOREIGN]
        command += [str(tmp_path / "n.aoti.pt2"), str(tmp_path / "case.pth")]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("standalone", [False, True])
def test_every_size(tmp_path: Path, standalone: bool) -> None:
    graph = tiny()
    program = torch_program(graph, [images(2, 65, 97)], dynamic=True, standalone=standalone)
    call = package(program, tmp_path)
    with torch.no_grad():
        for size in ((1, 64, 64), (3, 71, 140)):
            close(call(images(*size)), graph(images(*size)))


def test_no_compiler(tmp_path: Path) -> None:
    program = torch_program(Small(), [images(1, 32, 32)])
    none = torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)})
    with none, pytest.raises(UsageError, match="C\\+\\+ compiler, and there is none: install"):
        compile_program(program, tmp_path / "n.aoti.pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_package_that_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "n.aoti.pt2").write_bytes(b"no package")
    with pytest.raises(UsageError, match="cannot load the package .* Write --standalone"):
        check_loads(tmp_path / "n.aoti.pt2")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu() -> None:
    with pytest.raises(UsageError, match="compiled on a machine with one"):
        check_tools(torch.device("cuda"))
