"""Files run in onnxruntime, OpenVINO and PyTorch, and what is said where they cannot."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch

import mmmamba.ops
from mmmamba.errors import UsageError
from mmmamba.exporting.metadata import Metadata
from mmmamba.exporting.runtimes import (
    open_runtime,
    read_metadata,
    write_to_archive,
    write_to_openvino,
)
from mmmamba.exporting.runtimes.torch_files import register_operators

from .small_files import Conv, conv_metadata, write_conv

SIZE = (16, 24)
FIXED = conv_metadata(size=SIZE)
DYNAMIC = conv_metadata(batch=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of each kind, and one that takes any size."""
    folder = tmp_path_factory.mktemp("files")
    write_conv(folder / "fixed.onnx", FIXED)
    write_conv(folder / "dynamic.onnx", DYNAMIC)
    write_conv(folder / "foreign.onnx", FIXED, held=False)
    model = openvino.convert_model(folder / "dynamic.onnx")
    openvino.save_model(model, folder / "foreign.xml", compress_to_fp16=False)
    write_to_openvino(model, DYNAMIC)
    openvino.save_model(model, folder / "dynamic.xml", compress_to_fp16=False)
    program = torch.export.export(Conv().eval(), (torch.zeros(1, 3, *SIZE),))
    torch.export.save(program, folder / "foreign.pt2")
    torch.export.save(program, folder / "fixed.pt2")
    write_to_archive(folder / "fixed.pt2", FIXED)
    return folder


def images(*size: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(size[0], 3, *size[1:])).astype(np.float32)


@pytest.mark.parametrize(
    "name, runs",
    [
        ("fixed.onnx", "onnxruntime"),
        ("dynamic.onnx", "onnxruntime"),
        ("dynamic.xml", "OpenVINO"),
        ("fixed.pt2", "torch.export"),
    ],
)
def test_results_are_those_of_pytorch(folder, name, runs):
    runtime = open_runtime(folder / name, threads=1)
    assert runtime.name.startswith(runs)
    assert runtime.name.endswith("(CPU)")
    metadata = DYNAMIC if "dynamic" in name else FIXED
    assert runtime.metadata == metadata == read_metadata(folder / name)
    assert runtime.input_shapes == dict(images=metadata.inputs.shape("images"))
    x = images(1, *SIZE)
    found = runtime.run(dict(images=x))
    wanted = Conv()(torch.from_numpy(x))[0].detach()
    assert list(found) == ["map0"]
    torch.testing.assert_close(torch.from_numpy(found["map0"]), wanted)


def test_programs_may_call_every_operator_of_ours():
    register_operators()
    files = Path(mmmamba.ops.__path__[0]).rglob("*.py")
    names = set()
    for file in files:
        names |= set(re.findall(r'"mmmamba::(\w+)"', file.read_text(encoding="utf-8")))
    assert "selective_scan" in names
    assert not [name for name in names if not hasattr(torch.ops.mmmamba, name)]


def test_results_stay_when_the_next_come(folder):
    runtime = open_runtime(folder / "dynamic.xml")
    first = runtime.run(dict(images=images(2, 9, 7)))["map0"]
    before = first.copy()
    runtime.run(dict(images=images(2, 9, 7) * 2))
    assert (first == before).all()


@pytest.mark.parametrize("name", ["fixed.onnx", "fixed.pt2"])
@pytest.mark.parametrize(
    "array, said",
    [
        (
            images(1, 16, 20),
            r"has 20 for the width \(axis 3 of \(1, 3, 16, 20\)\), and {} takes 24",
        ),
        (images(1, 12, 24), r"has 12 for the height .* takes 16: \(1, 3, 16, 24\)\..*--size 12 24"),
        (images(2, 16, 24), r"has 2 for the number of images .*Export with --dynamic or --batch 2"),
        (images(1, 16, 24)[:, :1], r"has 1 for the channels \(axis 1 .* takes 3"),
        (images(1, 16, 24)[0], r"has the shape \(3, 16, 24\), and {} takes \(1, 3, 16, 24\)"),
        (images(1, 16, 24).astype(float), r"is float64, and {} takes float32: images.astype"),
        (images(1, 16, 24).tolist(), r"is a list, wanted a NumPy array"),
    ],
)
def test_wrong_inputs_are_told(folder, name, array, said):
    runtime = open_runtime(folder / name)
    with pytest.raises(UsageError, match="images " + said.format(name)):
        runtime.run(dict(images=array))


def test_inputs_of_other_names(folder):
    runtime = open_runtime(folder / "fixed.onnx")
    with pytest.raises(UsageError, match="no input 'image', but takes images. Did you mean 'imag"):
        runtime.run(dict(image=images(1, *SIZE)))
    with pytest.raises(UsageError, match="takes images, and images is missing"):
        runtime.run({})


def test_any_length_is_told_as_such(folder):
    runtime = open_runtime(folder / "dynamic.onnx")
    with pytest.raises(UsageError, match=r"takes \(any, 3, any, any\)"):
        runtime.run(dict(images=images(1, 8, 8)[0]))


def test_numbers_of_images_and_of_sizes(tmp_path):
    metadata = conv_metadata(batch=None, names=("images", "image_sizes"))
    runtime = open_runtime(write_conv(tmp_path / "m.onnx", metadata))
    sizes = np.zeros((1, 2), np.int64)
    with pytest.raises(UsageError, match="got 2 of images and 1 of image_sizes"):
        runtime.run(dict(images=images(2, 8, 8), image_sizes=sizes))
    with pytest.raises(UsageError, match="image_sizes is int32, and m.onnx takes int64"):
        runtime.run(dict(images=images(1, 8, 8), image_sizes=sizes.astype(np.int32)))


@pytest.mark.parametrize("name", ["foreign.onnx", "foreign.xml", "foreign.pt2"])
def test_files_of_other_tools(folder, name):
    with pytest.raises(UsageError, match=f"{name} was not written by `mmmamba export`"):
        open_runtime(folder / name)
    with pytest.raises(UsageError, match=f"{name} was not written by `mmmamba export`"):
        read_metadata(folder / name)
    # While it is written, a file says nothing of itself yet.
    assert open_runtime(folder / name, metadata=FIXED).metadata == FIXED


BROKEN = {
    "empty": (b"", "empty"),
    "page": (b"<!DOCTYPE html><html>", "a web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS"),
    "text": (b"hello, world", "plain text"),
    "pickle": (b"\x80\x02}q\x00.", "a checkpoint of PyTorch"),
    "bytes": (bytes(range(200, 250)), "something else, or is damaged"),
}


@pytest.mark.parametrize("ending", [".onnx", ".xml", ".pt2", ".aoti.pt2"])
@pytest.mark.parametrize("kind", BROKEN)
def test_files_that_are_none(tmp_path, kind, ending):
    content, said = BROKEN[kind]
    file = tmp_path / f"m{ending}"
    file.write_bytes(content)
    file.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(UsageError, match=f"it is {said}") as caught:
        open_runtime(file)
    assert "\n" not in str(caught.value)


def test_files_that_are_cut_off(folder, tmp_path):
    for name, said in (
        ("fixed.onnx", "an ONNX file that is cut off or damaged"),
        ("dynamic.xml", "no file of OpenVINO, or it is damaged or does not belong to m.bin"),
        ("fixed.pt2", "an archive that is cut off or damaged"),
    ):
        file = tmp_path / f"m{Path(name).suffix}"
        content = (folder / name).read_bytes()
        file.write_bytes(content[: len(content) // 2])
        file.with_suffix(".bin").write_bytes(b"")
        with pytest.raises(UsageError, match=said):
            open_runtime(file)


def test_files_under_the_name_of_another_kind(folder, tmp_path):
    for name, ending, said in (
        ("fixed.pt2", ".onnx", r"a file of torch.export \(.pt2\)"),
        ("fixed.onnx", ".pt2", "an ONNX file"),
        ("fixed.pt2", ".aoti.pt2", "no package of AOTInductor: it is a file of torch.export"),
    ):
        (tmp_path / f"m{ending}").write_bytes((folder / name).read_bytes())
        with pytest.raises(UsageError, match=said):
            open_runtime(tmp_path / f"m{ending}")
    with zipfile.ZipFile(tmp_path / "n.pt2", "w") as archive:
        archive.writestr("notes.txt", "")
    with pytest.raises(UsageError, match="a ZIP archive of something else"):
        open_runtime(tmp_path / "n.pt2")
    torch.save({}, tmp_path / "o.pt2")
    with pytest.raises(UsageError, match="a checkpoint of PyTorch"):
        open_runtime(tmp_path / "o.pt2")


def test_openvino_without_its_weights(folder, tmp_path):
    (tmp_path / "m.xml").write_bytes((folder / "dynamic.xml").read_bytes())
    with pytest.raises(UsageError, match=r"weights in m.bin, which is not beside it"):
        open_runtime(tmp_path / "m.xml")


def test_names_that_are_no_file(folder, tmp_path):
    with pytest.raises(UsageError, match="m.pth is no exported file by its name, which ends in"):
        open_runtime(tmp_path / "m.pth")
    with pytest.raises(UsageError, match="there is no file .*Did you mean '.*fixed.onnx'"):
        open_runtime(folder / "fixd.onnx")


@pytest.mark.parametrize("name", ["fixed.onnx", "dynamic.xml", "fixed.pt2"])
def test_no_other_device_in_silence(folder, name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    said = dict(onnx="built without CUDAExecutionProvider", xml="OpenVINO finds CPU.* here, not")
    with pytest.raises(UsageError, match=said.get(name.split(".")[1], "there is no device cuda")):
        open_runtime(folder / name, "cuda")
    if name != "dynamic.xml":
        with pytest.raises(UsageError, match="not on 'tpu'|'tpu' is no device"):
            open_runtime(folder / name, "tpu")


@pytest.mark.parametrize(
    "package, name", [("onnxruntime", "fixed.onnx"), ("openvino", "dynamic.xml")]
)
def test_a_missing_package_is_told(folder, package, name, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=rf"needs {package}, .* pip install 'mmmamba\[export\]'"):
        open_runtime(folder / name)


def test_what_the_runtime_says_is_one_line(folder, monkeypatch):
    runtime = open_runtime(folder / "fixed.onnx")
    # A file whose own inputs are others than its metadata say.
    monkeypatch.setattr(runtime, "input_shapes", dict(images=(None, None, None, None)))
    with pytest.raises(
        UsageError, match=r"onnxruntime .* could not run fixed.onnx: .ONNX"
    ) as caught:
        runtime.run(dict(images=images(1, 16, 20)))
    assert "\n" not in str(caught.value)


def test_metadata_are_written_once(folder):
    with pytest.raises(ValueError, match="holds metadata already"):
        write_to_archive(folder / "fixed.pt2", FIXED)


def test_a_package_of_aot_inductor_for_another_device(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.aoti.pt2", "w") as archive:
        archive.writestr("m/data/aotinductor/model/a_metadata.json", '{"AOTI_DEVICE_KEY": "cuda"}')
    write_to_archive(tmp_path / "m.aoti.pt2", FIXED)
    assert read_metadata(tmp_path / "m.aoti.pt2") == FIXED
    with pytest.raises(
        UsageError, match="compiled for cuda and does not run on cpu: .*--device cuda"
    ):
        open_runtime(tmp_path / "m.aoti.pt2")


@pytest.mark.slow
def test_a_package_of_aot_inductor(tmp_path):
    program = torch.export.export(Conv().eval(), (torch.zeros(1, 3, *SIZE),))
    path = str(tmp_path / "m.aoti.pt2")
    torch._inductor.aoti_compile_and_package(program, package_path=path)
    write_to_archive(tmp_path / "m.aoti.pt2", FIXED)
    runtime = open_runtime(path)
    assert runtime.name.startswith("AOTInductor")
    x = images(1, *SIZE)
    wanted = Conv()(torch.from_numpy(x))[0].detach()
    torch.testing.assert_close(torch.from_numpy(runtime.run(dict(images=x))["map0"]), wanted)
    with pytest.raises(UsageError, match="has 20 for the width"):
        runtime.run(dict(images=images(1, 16, 20)))


def test_metadata_survive_any_text(tmp_path):
    names = ("é", '"', "<a & b>", "\n", "猫")
    metadata = conv_metadata(batch=None, classes=names)
    write_conv(tmp_path / "m.onnx", metadata)
    model = openvino.convert_model(tmp_path / "m.onnx")
    write_to_openvino(model, metadata)
    openvino.save_model(model, tmp_path / "m.xml")
    held: list[Metadata] = [read_metadata(tmp_path / name) for name in ("m.onnx", "m.xml")]
    assert held == [metadata, metadata]
