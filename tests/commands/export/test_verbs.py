"""`infer`, `test` and `bench` open exported files, and say in a line what they cannot open."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmengine.logging import MMLogger

import mmmamba
from mmmamba.commands import main
from mmmamba.config.find import find_config

from ...exporting.onnx_files import (
    CLASSES,
    write_backbone,
    write_detector,
    write_foreign,
    write_segmentor,
)

pytest.importorskip("onnxruntime")
BOXES = ((42, 12, 72, 30), (4, 6, 40, 50), (20, 20, 44, 40))
HEIGHT, WIDTH = 60, 90
DETECTION = """
_base_ = "{base}"
pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(120, 80), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="PackDetInputs"),
]
meta = dict(classes=("blue", "green", "red"))
test_dataloader = dict(_delete_=True, batch_size=2, num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="CocoDataset", data_root="{root}", ann_file="boxes.json", metainfo=meta,
        data_prefix=dict(img="images/"), pipeline=pipeline, test_mode=True))
test_evaluator = dict(
    _delete_=True, type="CocoMetric", ann_file="{root}/boxes.json", metric="bbox")
work_dir = "{root}/run"
"""
SEGMENTATION = """
_base_ = "{base}"
pipeline = [
    dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
meta = dict(classes=("nothing", "blue", "green", "red"), palette=[[0] * 3] * 4)
test_dataloader = dict(_delete_=True, batch_size=2, num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="BaseSegDataset", data_root="{root}", img_suffix=".png", metainfo=meta,
        data_prefix=dict(img_path="images", seg_map_path="labels"), pipeline=pipeline))
test_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
work_dir = "{root}/run"
"""


@pytest.fixture(autouse=True)
def own_loggers() -> Iterator[None]:
    """A runner's logger writes into the output of its test, which later ones no longer have."""
    before = dict(MMLogger._instance_dict)
    yield
    MMLogger._instance_dict.clear()
    MMLogger._instance_dict.update(before)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images of one coloured rectangle each, their boxes and label maps, and two configs."""
    images, annotations = [], []
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for index, (x1, y1, x2, y2) in enumerate(BOXES):
        image = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        image[y1:y2, x1:x2, index], labels[y1:y2, x1:x2] = 230, 1 + index
        cv2.imwrite(str(tmp_path / f"images/{index}.png"), image)
        cv2.imwrite(str(tmp_path / f"labels/{index}.png"), labels)
        images.append(dict(id=index, file_name=f"{index}.png", height=HEIGHT, width=WIDTH))
        box = [x1, y1, x2 - x1, y2 - y1]
        area = box[2] * box[3]
        annotations.append(
            dict(id=index + 1, image_id=index, category_id=index, bbox=box, area=area, iscrowd=0)
        )
    categories = [dict(id=index, name=name) for index, name in enumerate(CLASSES)]
    listing = dict(images=images, annotations=annotations, categories=categories)
    (tmp_path / "boxes.json").write_text(json.dumps(listing))
    for name, text, base in (
        ("detect", DETECTION, "mask_rcnn/vmamba_t_1x_coco"),
        ("segment", SEGMENTATION, "upernet/vmamba_t_160k_ade20k-512x512"),
    ):
        (tmp_path / f"{name}.py").write_text(text.format(base=find_config(base), root=tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def failed(argv: list[str], capsys: pytest.CaptureFixture) -> str:
    """The line that a command ends with where its input is wrong."""
    assert main(argv) == 2
    lines = [one for one in capsys.readouterr().err.splitlines() if one.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_infer_takes_a_detector(data: Path, capsys: pytest.CaptureFixture) -> None:
    write_detector(data / "model.onnx", masks=True, size=(64, 96), batch=2)
    argv = ["infer", "model.onnx", "images", "--out", "found", "--batch-size", "3"]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert "3 images at" in printed and "on onnxruntime" in printed and "in float32" in printed
    found = json.loads(Path("found/predictions.json").read_text())
    assert [one["category_name"] for one in found] == list(CLASSES)
    for one, (x1, y1, x2, y2) in zip(found, BOXES):
        np.testing.assert_allclose(one["bbox"], (x1, y1, x2 - x1, y2 - y1), atol=1.5)
        assert one["segmentation"]["size"] == [HEIGHT, WIDTH]


def test_infer_takes_a_video_and_tiles(data: Path) -> None:
    write_segmentor(data / "model.onnx", size=(32, 32))
    size = (WIDTH, HEIGHT)
    video = cv2.VideoWriter("clip.avi", cv2.VideoWriter_fourcc(*"MJPG"), 10, size)
    for _ in range(3):
        video.write(cv2.imread("images/2.png"))
    video.release()
    assert main(["infer", "model.onnx", "clip.avi", "--tile", "32", "--out", "found"]) == 0
    listing = json.loads(Path("found/images.json").read_text())
    x1, y1, x2, y2 = BOXES[2]
    share = (x2 - x1) * (y2 - y1) / (HEIGHT * WIDTH)
    for entry in listing["images"]:
        assert entry["shares"]["red"] == pytest.approx(share, rel=0.1)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--precision", "float16"], "--precision float16: model.onnx is an exported file"),
        (["--graphs", "2"], "its runtime runs it"),
        (["--tf32", "off"], "--tf32 off"),
        (["--checkpoint", "x.pth"], "its weights are in it"),
        (["--cfg-options", "model.test_cfg.score_thr=0.1"], "it has no config"),
        (["--imgsz", "64"], "--imgsz 64: model.onnx is an exported file, it takes images of one"),
        (["--device", "cuda:9"], "cuda"),
    ],
)
def test_flags_that_mean_nothing_for_a_file(
    flags: list[str], said: str, data: Path, capsys: pytest.CaptureFixture
) -> None:
    write_detector(data / "model.onnx", size=(64, 96))
    assert said in failed(["infer", "model.onnx", "images", *flags], capsys)


def test_a_dynamic_file_takes_another_size(data: Path) -> None:
    write_detector(data / "model.onnx", resize="keep_ratio", scale=(90, 60))
    model = mmmamba.Predictor("model.onnx", imgsz=180)
    packed = model._preparation.pack(model.read("images/0.png"))
    assert tuple(packed["inputs"].shape) == (3, 120, 180)


def test_test_scores_a_detector(data: Path, capsys: pytest.CaptureFixture) -> None:
    write_detector(data / "model.onnx")
    found = mmmamba.test("detect.py", "model.onnx", out="found.pkl", show_dir="drawn")
    assert found.metrics["coco/bbox_mAP"] == 1.0
    assert Path("found.pkl").stat().st_size and len(list(Path("drawn").rglob("*.png"))) == 3
    # In a smaller input and a batch of three, boxes are rounded to its pixels.
    write_detector(data / "small.onnx", size=(50, 50), batch=3)
    found = mmmamba.test("detect.py", "small.onnx")
    assert 0.7 < found.metrics["coco/bbox_mAP"] < 1.0
    logs = [path.read_text() for path in Path("run").glob("*/*.log")]
    assert sum("small.onnx takes images of 50x50 alone" in text for text in logs) == 1


def test_test_scores_a_segmentor(data: Path) -> None:
    for logits in (False, True):
        write_segmentor(data / "model.onnx", logits)
        assert mmmamba.test("segment.py", "model.onnx").metrics["mIoU"] == 100.0
    write_segmentor(data / "model.onnx", size=(50, 64), batch=2)
    assert 85 < mmmamba.test("segment.py", "model.onnx", out="maps").metrics["mIoU"] < 100
    assert len(list(Path("maps").glob("*.png"))) == 3


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["model.onnx"], "mmmamba test CONFIG model.onnx"),
        (["segment.py", "model.onnx"], "model.onnx is a file for detection, and "),
        (["detect.py", "model.onnx", "--tta"], "--tta: model.onnx is an exported file"),
        (["detect.py", "model.onnx", "--fuse"], "--fuse: model.onnx is an exported file"),
        (["detect.py", "model.onnx", "--precision", "bfloat16"], "--precision bfloat16"),
        (["detect.py", "modell.onnx"], "Did you mean 'model.onnx'"),
        (["detect.py", "other.onnx"], "wanted the same classes in the same order"),
        (["detect.py", "maps.onnx"], "maps.onnx is a file for backbone"),
    ],
)
def test_what_test_refuses(
    argv: list[str], said: str, data: Path, capsys: pytest.CaptureFixture
) -> None:
    write_detector(data / "model.onnx")
    write_detector(data / "other.onnx", classes=CLASSES[::-1])
    write_backbone(data / "maps.onnx")
    assert said in failed(["test", *argv], capsys)


def test_bench_measures_files_beside_one_another(data: Path, capsys: pytest.CaptureFixture) -> None:
    write_detector(data / "detect.onnx", size=(50, 90), batch=2)
    write_segmentor(data / "segment.onnx")
    write_backbone(data / "maps.onnx")
    files = ["detect.onnx", "segment.onnx", "maps.onnx"]
    argv = ["bench", *files, "--seconds", "0.01", "--out", "speed.csv", "--device", "cpu"]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert "inference, 2 x 50x90 (from 50x90)" in printed and "onnxruntime" in printed
    with open("speed.csv", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == files
    for row in rows:
        assert row["parameters"] == row["gflops"] == row["peak_mib"] == ""
        assert float(row["milliseconds"]) > 0 and float(row["file_mib"]) > 0
        assert row["runtime"].startswith("onnxruntime") and int(row["threads"]) >= 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--size", "64"], "takes images of 50x90, and these are 64x64: --size 50x90"),
        (["--batch", "3"], "takes 2 images at a time, and these are 3: --batch 2"),
        (["--train"], "--train: fixed.onnx is an exported file"),
        (["--precision", "bfloat16"], "--precision bfloat16: fixed.onnx is an exported file"),
    ],
)
def test_what_bench_refuses(
    flags: list[str], said: str, data: Path, capsys: pytest.CaptureFixture
) -> None:
    write_detector(data / "fixed.onnx", size=(50, 90), batch=2)
    assert said in failed(["bench", "fixed.onnx", *flags], capsys)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("foreign.onnx", "was not written by `mmmamba export`"),
        ("broken.onnx", "is no ONNX file that can be read"),
        ("empty.onnx", "it is empty"),
        ("gone.onnx", "there is no file gone.onnx"),
        ("model.engine", "files of TensorRT are not opened here"),
        ("maps.onnx", "an exported backbone, whose maps are no results"),
        ("places.onnx", "Export it without --no-nms"),
        ("folder.onnx", "is a folder, wanted a file"),
    ],
)
def test_what_is_no_file_of_ours(
    name: str, said: str, data: Path, capsys: pytest.CaptureFixture
) -> None:
    if name == "foreign.onnx":
        write_foreign(data / name)
    elif name == "broken.onnx":
        whole = write_detector(data / name).read_bytes()
        (data / name).write_bytes(whole[: len(whole) // 2])
    elif name == "empty.onnx":
        (data / name).touch()
    elif name == "maps.onnx":
        write_backbone(data / name)
    elif name == "places.onnx":
        write_detector(data / name, labels=False)
    elif name == "folder.onnx":
        (data / name).mkdir()
    assert said in failed(["infer", name, "images"], capsys)


def test_without_onnxruntime_one_line_says_what_to_install(
    data: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_detector(data / "model.onnx")
    # What Python imports where a package is not installed.
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    said = failed(["infer", "model.onnx", "images"], capsys)
    assert "onnxruntime, which is not installed: pip install 'mmmamba[export]'" in said


def test_commands_that_need_the_network_say_so(data: Path, capsys: pytest.CaptureFixture) -> None:
    write_detector(data / "model.onnx")
    said = failed(["inspect", "model.onnx", "images/0.png"], capsys)
    assert "here the network itself is needed" in said
    argv = ["infer", "detect.py", "images", "--checkpoint", "model.onnx"]
    assert "name it in the place of the model" in failed(argv, capsys)
