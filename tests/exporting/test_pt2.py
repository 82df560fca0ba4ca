"""Programs of `torch.export` give what the model gives, with our operators and without."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmmamba import create_backbone
from mmmamba.errors import UsageError
from mmmamba.exporting.graphs import Graph, graph_of
from mmmamba.exporting.pt2 import (
    ALONE,
    NEEDS,
    OURS,
    VISION,
    our_operators,
    save_program,
    torch_program,
)
from tests.exporting.graphs import two_stage_models
from tests.exporting.graphs.cases import batch, detector

TINY = dict(embed_dims=16, depths=(1, 1, 1, 1))
# How a file is loaded where there is no mmmamba: a name that cannot be imported.
FOREIGN = """
import sys
import torch
sys.modules["mmmamba"] = None
program = torch.export.load(sys.argv[1])
x, want = torch.load(sys.argv[2])
with torch.no_grad():
    got = program.module()(x)
for a, b in zip(got, want, strict=True):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
"""


def tiny(name: str = "vmamba_t", **settings) -> Graph:
    torch.manual_seed(0)
    return graph_of(create_backbone(name, **(settings or TINY))).eval()


def images(batch: int, height: int, width: int) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(height))


def close(got: tuple[Tensor, ...], want: tuple[Tensor, ...]) -> None:
    for a, b in zip(got, want, strict=True):
        assert (a - b).abs().max() <= 2e-5 * b.std()


def test_with_our_operators(tmp_path: Path) -> None:
    graph, x = tiny(), images(1, 64, 96)
    program = torch_program(graph, [x])
    assert "mmmamba::selective_scan" in our_operators(program)
    save_program(program, tmp_path / "n.pt2")
    said = {NEEDS: ""}
    with torch.no_grad():
        close(torch.export.load(tmp_path / "n.pt2", extra_files=said).module()(x), graph(x))
    assert said[NEEDS] in (OURS, OURS.encode())


@pytest.mark.slow
def test_alone(tmp_path: Path) -> None:
    """It runs in a process that cannot import mmmamba."""
    graph, x = tiny(), images(1, 64, 96)
    program = torch_program(graph, [x], standalone=True)
    assert our_operators(program) == []
    save_program(program, tmp_path / "n.pt2")
    with zipfile.ZipFile(tmp_path / "n.pt2") as archive:
        said = next(name for name in archive.namelist() if name.endswith(NEEDS))
        assert archive.read(said).decode() == ALONE
    with torch.no_grad():
        torch.save((x, graph(x)), tmp_path / "case.pth")
    command = [sys.executable, "-c", FOREIGN, str(tmp_path / "n.pt2"), str(tmp_path / "case.pth")]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_alone_at_every_size() -> None:
    graph = tiny()
    program = torch_program(graph, [images(2, 65, 97)], dynamic=True, standalone=True)
    assert our_operators(program) == []
    call = program.module()
    with torch.no_grad():
        for size in ((1, 40, 36), (3, 71, 140)):
            close(call(images(*size)), graph(images(*size)))


def test_one_stage_detectors_alone() -> None:
    """Suppression too is of PyTorch's operators, exactly."""
    graph = graph_of(detector("yolox_pafpn")).eval()
    inputs = batch(2, (136, 200))
    program = torch_program(graph, inputs, standalone=True)
    assert our_operators(program) == []
    with torch.no_grad():
        for got, want in zip(program.module()(*inputs), graph(*inputs), strict=True):
            torch.testing.assert_close(got, want)


@pytest.mark.slow
def test_two_stage_detectors_need_torchvision(tmp_path: Path) -> None:
    model = two_stage_models.detector(two_stage_models.settings())
    graph = graph_of(model).eval()
    inputs = two_stage_models.images(), two_stage_models.SIZES
    program = torch_program(graph, inputs, standalone=True)
    assert our_operators(program) == []
    save_program(program, tmp_path / "n.pt2")
    said = {NEEDS: ""}
    loaded = torch.export.load(tmp_path / "n.pt2", extra_files=said)
    assert said[NEEDS] in (VISION, VISION.encode())
    with torch.no_grad():
        found = loaded.module()(*inputs)
    assert max(two_stage_models.check(model, inputs, found)) > 5


def test_what_has_no_form_alone_is_refused() -> None:
    class Sampled(Graph):
        task = "backbone"
        output_names = ("map0",)

        def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
            return (torch.ops.mmmamba.suppress(inputs[0], 0.5),)

    with pytest.raises(UsageError, match="mmmamba::suppress.* import"):
        torch_program(Sampled(), [torch.zeros(1, 3, 4)], standalone=True)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vim_t", dict(depth=2, embed_dims=16, out_indices=(1,))),
        pytest.param(
            "mambavision_t",
            dict(depths=(1, 1, 2, 2), embed_dims=16),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_other_families_alone(name: str, settings: dict) -> None:
    graph, x = tiny(name, **settings), images(1, 224, 224)
    program = torch_program(graph, [x], standalone=True)
    assert our_operators(program) == []
    with torch.no_grad():
        close(program.module()(x), graph(x))
