"""`mmmamba.export` writes files for PyTorch that hold what the model computes."""

from __future__ import annotations

from pathlib import Path

import pytest

import mmmamba
from mmmamba.errors import UsageError
from mmmamba.exporting.request import make_request
from mmmamba.exporting.runtimes import open_runtime
from tests.exporting.test_pt2 import TINY


def export(out: Path, lines: list[str], **settings):
    return mmmamba.export(
        "vmamba_t", out=out, size=(64, 96), cfg_options=TINY, log=lines.append, **settings
    )


@pytest.mark.parametrize("standalone", [None, pytest.param(True, marks=pytest.mark.slow)])
def test_pt2(tmp_path: Path, standalone: bool | None) -> None:
    lines: list[str] = []
    made = export(tmp_path / "n.pt2", lines, standalone=standalone)
    assert made.report.passed
    assert made.metadata.format == "pt2"
    runtime = open_runtime(made.path)
    assert runtime.metadata.verification == made.report.to_json()
    assert runtime.input_shapes == dict(images=(1, 3, 64, 96))
    assert any("imports mmmamba.ops" in line for line in lines) == (standalone is None)


@pytest.mark.slow
@pytest.mark.parametrize("standalone", [None, False])
def test_aoti(tmp_path: Path, standalone: bool | None) -> None:
    lines: list[str] = []
    made = export(tmp_path / "n.aoti.pt2", lines, standalone=standalone)
    assert made.report.passed
    assert open_runtime(made.path).metadata.format == "aoti"
    assert any("imports mmmamba.ops" in line for line in lines) == (standalone is False)


def test_half_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--half is for onnx and openvino"):
        export(tmp_path / "n.pt2", [], half=True)
    assert not list(tmp_path.iterdir())


def test_onnx_is_always_standalone() -> None:
    with pytest.raises(UsageError, match="--no-standalone is for files of pt2 and aoti"):
        make_request("n", standalone=False)
