"""The example beside an ONNX file: short, alone, and right."""

from __future__ import annotations

import ast
import os
import runpy
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from PIL import Image

from mmmamba.exporting.example import example_of, write_example
from mmmamba.exporting.metadata import Inputs, Metadata
from mmmamba.exporting.preparing import prepare
from mmmamba.exporting.verify import draw
from mmmamba.exporting.verify.batches import read_image

from .small_files import conv_metadata, write_bright, write_conv

ALLOWED = {"json", "sys", "numpy", "onnxruntime", "PIL"}
LINES = 40
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
PLAIN = Inputs(names=("images", "image_sizes"), mean=MEAN, std=STD, pad_value=MEAN, batch=None)
GREY = dict(pad_value=(114.0,) * 3, sizes_with_padding=True)
LETTERBOX = dict(resize="letterbox", scale=(96, 96), pad_place="centre", **GREY)
KINDS = dict(
    mask_rcnn=replace(PLAIN, resize="keep_ratio", scale=(133, 80), size_divisor=32),
    mask_rcnn_fixed=replace(PLAIN, resize="keep_ratio", scale=(133, 80), size=(80, 144)),
    standing=replace(PLAIN, resize="keep_ratio", scale=(133, 80), size=(100, 60), batch=2),
    rtmdet=replace(PLAIN, resize="keep_ratio", scale=(96, 96), pad_to=(96, 96), **GREY),
    mamba_yolo=replace(
        PLAIN, size_divisor=32, pad_extra=16, mean=(0.0,) * 3, std=(255.0,) * 3, **LETTERBOX
    ),
    mamba_yolo_fixed=replace(PLAIN, size=(96, 96), channel_order="bgr", **LETTERBOX),
    upernet=replace(PLAIN, names=("images",), resize="keep_ratio", scale=(256, 64)),
    plainmamba=replace(PLAIN, resize="keep_ratio", scale=(256, 64), multiple=32),
    stretched=replace(PLAIN, resize="stretch", scale=(64, 48)),
    as_they_are=replace(PLAIN, resize="none"),
    smaller=replace(PLAIN, resize="none", size=(64, 64)),
    grey=replace(
        PLAIN,
        channels=1,
        channel_order="grey",
        mean=(100.0,),
        std=(50.0,),
        pad_value=(0.0,),
        resize="keep_ratio",
        scale=(133, 80),
    ),
)
CENTRE = dict(names=("images",), resize="short_edge", scale=(72, 72), crop=(64, 48))
CUT = dict(
    classifier=replace(PLAIN, **CENTRE),
    classifier_by_pillow=replace(
        PLAIN, **CENTRE | dict(backend="pillow", interpolation="bicubic", size=(64, 48))
    ),
    grey_classifier=replace(KINDS["grey"], **CENTRE | dict(backend="pillow")),
)
"""Classifiers' images, which are cut to their centre."""
DETECTION = dict(task="detection", outputs=("boxes", "scores", "labels"))
MASKS = dict(task="detection", outputs=("boxes", "scores", "labels", "masks"), mask_threshold=0.5)
TASKS = dict(
    detection=DETECTION,
    masks=MASKS,
    raw=dict(task="detection", outputs=("boxes", "scores")),
    labels=dict(task="segmentation", outputs=("labels",)),
    logits=dict(task="segmentation", outputs=("logits",)),
    maps=dict(task="backbone", outputs=("map0", "map1")),
)
OF_CLASSES = dict(
    scores=dict(task="classification", outputs=("scores",)),
    class_logits=dict(task="classification", outputs=("logits",)),
)


def metadata_of(inputs: Inputs, task: str) -> Metadata:
    return Metadata(
        format="onnx", inputs=inputs, classes=("cat", "dog"), **(TASKS | OF_CLASSES)[task]
    )


def code_lines(text: str) -> set[int]:
    """Lines on which a statement begins, docstrings left out."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        said = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and not said:
            found.add(node.lineno)
    return found


PAIRS = [(kind, task) for kind in KINDS for task in TASKS]
PAIRS += [(kind, task) for kind in CUT for task in OF_CLASSES]


@pytest.mark.parametrize("kind, task", PAIRS)
def test_it_is_short_and_alone(kind, task):
    text = example_of("model.onnx", metadata_of((KINDS | CUT)[kind], task))
    lines = code_lines(text)
    # Masks come of images that are resized once and padded at the corner, boxes of such that are
    # resized once.
    rare = task == "masks" and not kind.startswith("mask_rcnn")
    rare |= task == "raw" and kind == "plainmamba"
    assert len(lines) <= LINES or rare
    for number, line in enumerate(text.splitlines(), 1):
        assert len(line) <= 100
        assert "# when" not in line
        # No statement hides on a second line.
        assert not line.strip() or number in lines or number < 8 or line.strip()[0] in '#"'
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    names = {node.module for node in nodes}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    assert names == ALLOWED
    assert "python model_example.py model.onnx image.jpg" in text


Answer = Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]


def run(
    folder: Path,
    metadata: Metadata,
    image: np.ndarray,
    answer: Answer,
    monkeypatch,
    capsys,
    second: np.ndarray | None = None,
) -> tuple[dict[str, np.ndarray], list[list[str]]]:
    """What the example feeds a network that answers so, and the words of what it prints."""
    fed: dict[str, np.ndarray] = {}

    class Session:
        def __init__(self, file: str, providers: list[str]) -> None:
            pass

        def get_modelmeta(self):
            return SimpleNamespace(custom_metadata_map=metadata.to_strings())

        def get_inputs(self):
            return [SimpleNamespace(name=name) for name in metadata.inputs.names]

        def run(self, outputs, inputs):
            assert tuple(outputs) == metadata.outputs
            fed.update(inputs)
            return answer(inputs)

    cv2.imwrite(str(folder / "a.png"), image)
    example = write_example(folder / "m.onnx", metadata)
    assert example is not None
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=Session))
    words = [str(example), "m.onnx", str(folder / "a.png")]
    if second is not None:
        cv2.imwrite(str(folder / "b.png"), second)
        words.append(str(folder / "b.png"))
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(example))
    return fed, [line.split() for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("kind", [*KINDS, *CUT])
def test_images_are_prepared_as_ours(kind, tmp_path, monkeypatch, capsys):
    inputs = (KINDS | CUT)[kind]
    maps = [np.zeros((1, 2, 3, 4)), np.zeros((1, 5, 6, 7))]
    for size in ((75, 100), (120, 77)):
        image = draw(*size)
        fed, printed = run(
            tmp_path, metadata_of(inputs, "maps"), image, lambda _: maps, monkeypatch, capsys
        )
        read = cv2.imread(str(tmp_path / "a.png"), int(inputs.channels == 3))
        made = prepare(read, inputs)
        assert fed["images"].shape == (inputs.batch or 1, *made.image.shape)
        assert fed["images"].dtype == np.float32
        # OpenCV rounds on the way, and Pillow's grey is another: pixels are a step of 255 off.
        levels = (fed["images"][0] - made.image) * np.reshape(inputs.std, (-1, 1, 1))
        assert np.abs(levels).max() < (1.1 if inputs.channels == 3 else 2.1)
        assert np.abs(levels).mean() < (0.01 if inputs.channels == 3 else 0.6)
        if "image_sizes" in inputs.names:
            assert fed["image_sizes"].tolist()[0] == list(made.seen)
            assert fed["image_sizes"].dtype == np.int64
        assert printed == [["map0", "(1,", "2,", "3,", "4)"], ["map1", "(1,", "5,", "6,", "7)"]]


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize(
    "channels, color_type", [(3, "grayscale"), (1, "grayscale"), (3, "color"), (1, "unchanged")]
)
def test_pairs_are_prepared_as_ours(channels, color_type, order, tmp_path, monkeypatch, capsys):
    six = dict(mean=(*MEAN, *[90.0] * channels), std=(*STD, *[40.0] * channels))
    inputs = replace(
        KINDS["upernet"],
        channels=3 + channels,
        second_channels=channels,
        second_color_type=color_type,
        channel_order=order,
        pad_value=(0.0,) * (3 + channels),
        **six,
    )
    second = draw(75, 100, seed=1)[..., : 3 if color_type == "color" else 1]
    if color_type == "unchanged":
        second = second.astype(np.uint16) * 250
    metadata = metadata_of(inputs, "labels")
    text = example_of("m.onnx", metadata)
    assert len(code_lines(text)) <= LINES
    assert "python m_example.py m.onnx image.png second.png" in text
    labels = [np.zeros((1, 64, 85), int)]
    fed, printed = run(
        tmp_path, metadata, draw(75, 100), lambda _: labels, monkeypatch, capsys, second
    )
    pair = read_image(tmp_path / "a.png", inputs, tmp_path / "b.png")
    made = prepare(pair, inputs)
    assert fed["images"].shape[1] == 3 + channels and printed == [["cat", "100.0%"]]
    levels = np.abs((fed["images"][0] - made.image) * np.reshape(inputs.std, (-1, 1, 1)))
    # OpenCV weighs 16 bits by shares finer than 1/2048: up to 16 of their 65535.
    assert levels[:3].max() < 1.1 and levels[3:].max() < (16 if color_type == "unchanged" else 1.1)
    # In the graph's order, beside what OpenCV reads.
    red = cv2.imread(str(tmp_path / "a.png"))[..., 2]
    assert (pair[..., 0] == red).all()
    middle = made.image[:, 32, 42] * inputs.std + inputs.mean
    near = cv2.resize(red, (85, 64))[32, 42]
    assert abs(middle[0 if order == "rgb" else 2] - near) < 2


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_go_back_to_the_image(kind, tmp_path, monkeypatch, capsys):
    inputs = KINDS[kind]
    image = draw(75, 100)
    made = prepare(image if inputs.channels == 3 else image[..., 0], inputs)
    wanted = np.array([10.0, 20.0, 60.0, 70.0])
    back, (top, left) = made.factor[::-1] * 2, made.corner
    boxes = np.float32([[wanted * back + [left, top, left, top], [0, 0, 5, 5]]])
    scores, labels = np.float32([[0.8, 0.2]]), np.array([[1, 0]])
    _, printed = run(
        tmp_path,
        metadata_of(inputs, "detection"),
        image,
        lambda _: [boxes, scores, labels],
        monkeypatch,
        capsys,
    )
    # The second is below the least score.
    assert printed == [["dog", "0.800", "10.0", "20.0", "60.0", "70.0"]]
    every = np.float32([[[0.1, 0.8], [0.2, 0.1]]])
    _, printed = run(
        tmp_path, metadata_of(inputs, "raw"), image, lambda _: [boxes, every], monkeypatch, capsys
    )
    assert printed == [["dog", "0.800", "10.0", "20.0", "60.0", "70.0"]]


def test_boxes_of_a_letterbox_end_at_the_image(tmp_path, monkeypatch, capsys):
    metadata = replace(metadata_of(KINDS["mamba_yolo_fixed"], "detection"), clip_boxes=True)
    boxes = np.float32([[[-5, -5, 96, 96]]])
    _, printed = run(
        tmp_path,
        metadata,
        draw(75, 100),
        lambda _: [boxes, np.float32([[0.8]]), np.array([[0]])],
        monkeypatch,
        capsys,
    )
    assert printed == [["cat", "0.800", "0.0", "0.0", "100.0", "75.0"]]


def test_masks_are_pasted_as_ours(tmp_path, monkeypatch, capsys):
    inputs = KINDS["mask_rcnn"]
    image = draw(75, 100)
    factor = prepare(image, inputs).factor[::-1] * 2
    wanted = np.array([[10.3, 20.6, 60.1, 70.9], [-3.0, 5.0, 30.5, 90.0]])
    torch.manual_seed(0)
    masks = torch.nn.functional.interpolate(torch.rand(1, 2, 5, 5), size=28, mode="bilinear")
    answer = [
        np.float32([wanted * factor]),
        np.float32([[0.8, 0.7]]),
        np.array([[1, 0]]),
        masks.numpy(),
    ]
    _, printed = run(
        tmp_path, metadata_of(inputs, "masks"), image, lambda _: answer, monkeypatch, capsys
    )
    pasted, _ = _do_paste_mask(masks[0, :, None], torch.tensor(wanted).float(), 75, 100, False)
    counts = (pasted >= 0.5).sum((1, 2)).tolist()
    found = [int(words[-1]) for words in printed]
    assert found == pytest.approx(counts, abs=3)


@pytest.mark.parametrize("task", ["labels", "logits"])
def test_shares_of_classes(task, tmp_path, monkeypatch, capsys):
    metadata = metadata_of(KINDS["mask_rcnn_fixed"], task)

    def answer(fed):
        # A quarter of the image is a dog, and all of the padding.
        height, width = fed["image_sizes"][0]
        labels = np.ones(fed["images"].shape[2:], int)
        labels[:height, width // 4 : width] = 0
        labels = labels[None]
        return [labels if task == "labels" else np.stack([labels * 0.0 + 0.5, labels], 1)]

    _, printed = run(tmp_path, metadata, draw(75, 100), answer, monkeypatch, capsys)
    assert printed[0][0] == "cat"
    assert float(printed[0][1].rstrip("%")) == pytest.approx(75, abs=1)
    assert printed[1][0] == "dog"


@pytest.mark.parametrize("task", OF_CLASSES)
def test_surest_classes(task, tmp_path, monkeypatch, capsys):
    metadata = metadata_of(CUT["classifier"], task)
    given = np.float32([[0.25, 0.75]]) if task == "scores" else np.log(np.float32([[1, 3]]))
    _, printed = run(tmp_path, metadata, draw(75, 100), lambda _: [given], monkeypatch, capsys)
    assert printed == [["dog", "0.750"], ["cat", "0.250"]]


def test_what_no_example_can_be_written_for(tmp_path, caplog):
    unknown = replace(PLAIN, unknown=("CLAHE",))
    assert write_example(tmp_path / "m.onnx", metadata_of(unknown, "maps")) is None
    assert "No example is written beside m.onnx: its config does CLAHE" in caplog.text
    many = replace(PLAIN, channels=5)
    assert write_example(tmp_path / "m.onnx", metadata_of(many, "maps")) is None
    assert "reads images of 5 channels" in caplog.text
    bicubic = replace(PLAIN, interpolation="bicubic")
    assert write_example(tmp_path / "m.onnx", metadata_of(bicubic, "maps")) is None
    assert "resizes by OpenCV's bicubic, which Pillow does in another way" in caplog.text
    assert not list(tmp_path.iterdir())


BLOCKED = ("torch", "torchvision", "mmmamba", "mmcv", "mmengine", "mmdet", "mmseg", "cv2", "onnx")


def bright_file(folder: Path) -> tuple[Path, Path, list[float]]:
    """A detector with its example, and an image whose bright rectangle is turned as EXIF says."""
    inputs = replace(KINDS["mask_rcnn"], mean=(128.0,) * 3, std=(128.0,) * 3)
    metadata = Metadata(format="onnx", inputs=inputs, classes=("dark", "bright"), **DETECTION)
    write_bright(folder / "m.onnx", metadata)
    write_example(folder / "m.onnx", metadata)
    image = np.full((60, 90, 3), 20, np.uint8)
    image[12:36, 30:66] = 240
    exif = Image.Exif()
    # The camera was turned: what the file has above is on the right of the image.
    exif[0x0112] = 6
    Image.fromarray(image).save(folder / "a.jpg", exif=exif, quality=98)
    return folder / "m_example.py", folder / "a.jpg", [60 - 36, 30, 60 - 12, 66]


def test_it_runs_without_what_made_it(tmp_path):
    example, image, box = bright_file(tmp_path)
    program = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({BLOCKED!r}))\n"
        f"sys.argv = [{str(example)!r}, {str(tmp_path / 'm.onnx')!r}, {str(image)!r}]\n"
        f"runpy.run_path({str(example)!r})\n"
    )
    words = printed_by([sys.executable, "-c", program], tmp_path)
    assert words[:2] == ["bright", "0.750"]
    assert [float(word) for word in words[2:]] == pytest.approx(box, abs=0.5)


@pytest.mark.slow
def test_it_runs_in_a_bare_environment(tmp_path):
    example, image, box = bright_file(tmp_path)
    venv.create(tmp_path / "bare", with_pip=True)
    python = tmp_path / "bare" / ("Scripts" if os.name == "nt" else "bin") / "python"
    packages = ["numpy", "pillow", "onnxruntime"]
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True, cwd=tmp_path)
    words = printed_by([python, example, tmp_path / "m.onnx", image], tmp_path)
    assert [float(word) for word in words[2:]] == pytest.approx(box, abs=0.5)
    # Nothing of ours comes in by another way.
    listed = subprocess.run(
        [python, "-m", "pip", "list"], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout.split()
    assert not {"torch", "mmmamba", "opencv-python", "onnx"} & set(listed)


def printed_by(command: list, folder: Path) -> list[str]:
    """The words of what a program prints, without the paths of this one."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_backbone_of_a_fixed_size(tmp_path):
    metadata = conv_metadata(size=(32, 40), batch=2)
    write_conv(tmp_path / "m.onnx", metadata)
    example = write_example(tmp_path / "m.onnx", metadata)
    cv2.imwrite(str(tmp_path / "a.png"), draw(50, 60))
    words = printed_by([sys.executable, example, tmp_path / "m.onnx", tmp_path / "a.png"], tmp_path)
    assert words == ["map0", "(2,", "4,", "16,", "20)"]
