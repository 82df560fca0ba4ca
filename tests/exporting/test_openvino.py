"""Files of OpenVINO: the same numbers, loops written out, metadata."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx_ir as ir
import pytest

from mmmamba.exporting.onnx.logarithms import write_logarithms
from mmmamba.exporting.onnx.unrolling import unroll
from mmmamba.exporting.runtimes.open_vino import OpenVino
from mmmamba.exporting.writing.openvino_file import OpenVinoWriter, to_openvino

from .small_files import conv_metadata
from .tiny_models import (
    FAMILIES,
    Made,
    common_error,
    images,
    largest_error,
    run_onnx,
    run_openvino,
)

LIMIT = 2e-5


@pytest.fixture(scope="module")
def full(vmamba, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("full") / "a.xml"
    to_openvino(vmamba.model, path)
    return path


@pytest.fixture(scope="module")
def half(vmamba, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("half") / "a.xml"
    to_openvino(vmamba.model, path, half=True)
    return path


def test_same_numbers(vmamba, full):
    given = images(1, 3, 64, 64)
    assert largest_error(run_openvino(full, given), vmamba.expected(given)) < LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("family", [one for one in FAMILIES if one != "vmamba"])
def test_same_numbers_of_families(family, tmp_path):
    made = Made(family)
    to_openvino(made.model, tmp_path / "a.xml")
    given = images(1, 3, 64, 64)
    assert largest_error(run_openvino(tmp_path / "a.xml", given), made.expected(given)) < LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("family", ["vmamba", "mobilemamba"])
def test_same_numbers_at_any_size(family, tmp_path):
    made = Made(family, dynamic=True)
    to_openvino(made.model, tmp_path / "a.xml")
    for shape in ((1, 3, 64, 64), (3, 3, 97, 130), (2, 3, 224, 33)):
        given = images(*shape)
        found = run_openvino(tmp_path / "a.xml", given)
        assert largest_error(found, made.expected(given)) < LIMIT


def test_loops_and_logarithms_are_written_out(vmamba, tmp_path):
    model = vmamba.model
    loops = sum(node.op_type == "Scan" for node in model.graph)
    assert unroll(model) == loops
    assert write_logarithms(model) == sum(node.op_type == "Log" for node in vmamba.model.graph)
    assert not {"Scan", "Log"} & {node.op_type for node in model.graph if node.outputs[0].uses()}
    ir.save(model, tmp_path / "a.onnx")
    given = images(1, 3, 64, 64)
    assert largest_error(run_onnx(tmp_path / "a.onnx", given), vmamba.expected(given)) < LIMIT


def test_loops_as_loops(vmamba, tmp_path, monkeypatch):
    """OpenVINO computes products in place, which must not be that of the next turn's state."""
    monkeypatch.setattr("mmmamba.exporting.onnx.unrolling.MOST", 0)
    to_openvino(vmamba.model, tmp_path / "a.xml")
    assert "TensorIterator" in (tmp_path / "a.xml").read_text()
    given = images(1, 3, 64, 64)
    assert largest_error(run_openvino(tmp_path / "a.xml", given), vmamba.expected(given)) < LIMIT


def test_half_is_stored(vmamba, full, half):
    sizes = [path.with_suffix(".bin").stat().st_size for path in (half, full)]
    assert sizes[0] < 0.65 * sizes[1]
    given = images(1, 3, 64, 64)
    error = common_error(run_openvino(half, given), vmamba.expected(given))
    assert 1e-6 < error < 2e-3


def test_the_file_says_what_it_is(vmamba, half, tmp_path):
    path = tmp_path / "a.xml"
    for file in (half, half.with_suffix(".bin")):
        shutil.copy(file, tmp_path)
    size = path.with_suffix(".bin").stat().st_size
    metadata = conv_metadata(format="openvino", classes=("cat", 'a "dog" & < more'))
    OpenVinoWriter().describe(path, metadata)
    # Twice, as the verdict comes after the first.
    OpenVinoWriter().describe(path, metadata)
    assert OpenVino(path, "cpu", 1).metadata == metadata
    assert path.with_suffix(".bin").stat().st_size == size
    given = images(1, 3, 64, 64)
    assert common_error(run_openvino(path, given), vmamba.expected(given)) < 2e-3
