"""What is asked for: where the file goes, and combinations that make no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmmamba.errors import UsageError
from mmmamba.exporting.files import FORMATS, check_file, format_of
from mmmamba.exporting.request import make_request


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "photos").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "out", "kind"),
    [
        ({}, "run/demo.onnx", "onnx"),
        (dict(format="openvino"), "run/demo.xml", "openvino"),
        (dict(format="aoti"), "run/demo.aoti.pt2", "aoti"),
        (dict(half=True), "run/demo_half.onnx", "onnx"),
        (dict(int8=True, calibrate="photos"), "run/demo_int8.onnx", "onnx"),
        (dict(out="mine.pt2"), "mine.pt2", "pt2"),
        (dict(out="mine.aoti.pt2"), "mine.aoti.pt2", "aoti"),
        (dict(out="mine.XML"), "mine.XML", "openvino"),
        (dict(out="photos/mine.onnx", format="onnx"), "photos/mine.onnx", "onnx"),
    ],
)
def test_where_the_file_goes_and_what_it_is(asked: dict, out: str, kind: str) -> None:
    made = make_request("demo", Path("run"), **asked)
    assert (made.out, made.format) == (Path(out), kind)


@pytest.mark.parametrize(
    ("size", "sides"),
    [(None, None), (64, (64, 64)), ([64], (64, 64)), ((48, 64), (48, 64))],
)
def test_a_size_is_one_side_or_two(size: Any, sides: Any) -> None:
    assert make_request("demo", size=size).size == sides


def test_the_precision_has_a_name() -> None:
    asked: list[dict] = [{}, dict(half=True), dict(int8=True, calibrate="photos")]
    found = [make_request("demo", **one).precision for one in asked]
    assert found == ["float32", "float16", "int8"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (dict(format="onx"), "--format is 'onx'.*Did you mean 'onnx'"),
        (dict(size=16), "--size is 16, wanted HEIGHT WIDTH"),
        (dict(size=[64, 64, 64]), "--size is 64 64 64, wanted HEIGHT WIDTH"),
        (dict(batch=0), "--batch is 0, wanted 1 or more"),
        (dict(dynamic=True, size=64), "--size 64 64 one for this size: leave one of them out"),
        (dict(dynamic=True, batch=2), "leave --batch 2 out"),
        (dict(int8=True), "--int8 needs images .* --calibrate DIR"),
        (dict(int8=True, half=True), "--int8 and --half are two precisions"),
        (dict(calibrate="photos"), "--calibrate photos is for --int8"),
        (dict(int8=True, calibrate="gone/photos.d"), "there is no such folder or config"),
        (dict(int8=True, calibrate="photos", format="pt2"), "--int8 is for files of onnx and open"),
        (dict(half=True, format="aoti"), "--half is not for aoti"),
        (dict(nms=False, logits=True), "leave one of them out"),
        (dict(image="gone.jpg"), "--image gone.jpg: there is no such file"),
        (dict(out="run"), "that is a folder. Name a file in it: run/demo.onnx"),
        (dict(out="gone/mine.onnx"), "there is no folder gone"),
        (dict(out="mine"), "files of onnx end in .onnx. Name it mine.onnx$"),
        (dict(out="mine.pb", format="pt2"), "files of pt2 end in .pt2. Name it mine.pt2$"),
        (dict(out="mine.onnx", format="pt2"), "Name it mine.pt2, or leave --format pt2 out"),
        (dict(out="mine.aoti.pt2", format="pt2"), "Name it mine.pt2, or leave --format pt2 out"),
    ],
)
def test_what_makes_no_sense(asked: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make_request("demo", **asked)


def test_a_config_to_calibrate_on_may_be_named_without_its_path() -> None:
    made = make_request("demo", int8=True, calibrate="mask_rcnn/vmamba_t_1x_coco")
    assert made.calibrate == "mask_rcnn/vmamba_t_1x_coco"


def test_names_of_files_tell_formats() -> None:
    for kind, ending in FORMATS.items():
        assert format_of(f"a/model{ending}") == format_of(f"MODEL{ending.upper()}") == kind
    for name in ("model.pth", "model.py", "model", "onnx", "weights.bin"):
        assert format_of(name) is None


def test_names_of_other_programs_files_are_told(here: Path) -> None:
    with pytest.raises(UsageError, match=r"files of LiteRT are not opened here.*\.onnx, \.xml"):
        format_of("model.tflite")
    (here / "model.xml").touch()
    with pytest.raises(UsageError, match="holds the weights alone; name .*model.xml"):
        format_of(here / "model.bin")
    with pytest.raises(UsageError, match="Did you mean 'model.xml'"):
        check_file("modell.xml")
    with pytest.raises(UsageError, match="mmmamba export MODEL writes one"):
        check_file("else.onnx")
