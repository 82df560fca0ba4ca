"""`mmmamba infer` from its arguments to the folder of results."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mmmamba.commands import main
from mmmamba.inference import Predictor

from ..inference import colours
from ..inference.cameras import camera
from ..inference.colours import draw_image

detector_run, segmentor_run = colours.detector_run, colours.segmentor_run


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for index, name in enumerate(("a/x.png", "b/x.png")):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "photos" / name), draw_image(60, 80, 5, index))
    cv2.imwrite(str(tmp_path / "photos" / "dark.png"), np.zeros((50, 50, 3), np.uint8))
    return tmp_path / "photos"


def infer(*argv: object) -> int:
    return main(["infer", *map(str, argv), "--device", "cpu"])


def test_a_folder_of_images_becomes_pictures_and_coco_results(detector_run, photos, capsys):
    assert (
        infer(detector_run, photos, "--out", "found", "--score-thr", "0", "--batch-size", "2") == 0
    )
    printed = capsys.readouterr().out
    assert (
        "3 images, 1 of them with no object" in printed
        and "on cpu" in printed
        and "epoch_1.pth" in printed
    )
    images = COCO("found/images.json")
    results = images.loadRes("found/predictions.json")
    by_name = {image["file_name"]: image for image in images.dataset["images"]}
    assert set(by_name) == {"a/x.png", "b/x.png", "dark.png"}
    for name, count in (("a/x.png", 5), ("b/x.png", 5), ("dark.png", 0)):
        entry, pixels = by_name[name], cv2.imread(str(photos / name))
        assert (entry["height"], entry["width"]) == pixels.shape[:2]
        assert cv2.imread(f"found/{entry['picture']}").shape[:2] == (360, 480) or name == "dark.png"
        found = results.imgToAnns[entry["id"]]
        assert len(found) == count
        for one in found:
            assert one["category_name"] == images.cats[one["category_id"]]["name"]
            channel = {"blue": 0, "green": 1, "red": 2}[images.cats[one["category_id"]]["name"]]
            assert (pixels[..., channel][coco_mask.decode(one["segmentation"]) > 0] == 230).all()


def test_a_segmentor_leaves_label_maps_and_shares(segmentor_run, photos):
    assert infer(segmentor_run, photos / "a", "--out", "found", "--tile", 64) == 0
    content = json.loads(Path("found/images.json").read_text())
    (entry,) = content["images"]
    labels = cv2.imread(f"found/{entry['labels']}", cv2.IMREAD_UNCHANGED)
    assert labels.shape == (60, 80) and sum(entry["shares"].values()) == pytest.approx(1, abs=1e-4)
    for name, share in entry["shares"].items():
        assert (labels == content["classes"].index(name)).mean() == pytest.approx(share, abs=1e-6)


def test_a_video_becomes_a_video(detector_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writer = cv2.VideoWriter("clip.mp4", cv2.VideoWriter_fourcc(*"mp4v"), 10, (96, 64))
    for seed in range(5):
        writer.write(draw_image(64, 96, 3, seed, side=(15, 25)))
    writer.release()
    assert infer(detector_run, "clip.mp4", "--every", 2) == 0
    drawn = cv2.VideoCapture("predictions/pictures/clip.mp4")
    assert drawn.get(cv2.CAP_PROP_FRAME_COUNT) == 3 and drawn.get(
        cv2.CAP_PROP_FPS
    ) == pytest.approx(5)
    images = json.loads(Path("predictions/images.json").read_text())["images"]
    assert [(i["frame"], i["seconds"]) for i in images] == [(0, 0), (2, 0.2), (4, 0.4)]


def test_a_stream_becomes_a_video_that_takes_as_long(detector_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shown = [draw_image(64, 96, 3, seed, side=(15, 25)) for seed in range(20)]
    with camera(shown) as address:
        assert infer(detector_run, address, "--frames", 6, "--every", 2) == 0
    content = Path("predictions/images.json").read_text()
    images = json.loads(content)["images"]
    assert "6 images" in capsys.readouterr().out and "secret" not in content
    numbers = [image["frame"] for image in images]
    assert len(numbers) == 6 and min(np.diff(numbers)) >= 2
    drawn = cv2.VideoCapture("predictions/pictures/door.mp4")
    length = drawn.get(cv2.CAP_PROP_FRAME_COUNT) / drawn.get(cv2.CAP_PROP_FPS)
    assert length >= images[-1]["seconds"]


@pytest.mark.parametrize("live", [True, False])
def test_ctrl_c_leaves_what_was_found(detector_run, photos, monkeypatch, live):
    read = Predictor.predict

    def predict(self, images):
        if self.seconds:
            raise KeyboardInterrupt
        return read(self, images)

    monkeypatch.setattr(Predictor, "predict", predict)
    with camera([draw_image(60, 80, 5)] * 50) as address:
        assert infer(detector_run, address if live else photos) == (0 if live else 130)
    assert len(json.loads(Path("predictions/images.json").read_text())["images"]) == 1


def test_what_cannot_be_read_is_named_at_the_end(detector_run, photos, capsys):
    (photos / "a" / "broken.jpg").write_bytes(b"no image")
    assert infer(detector_run, photos, "http://127.0.0.1:1/x.png") == 1
    printed = capsys.readouterr().out
    assert "3 images" in printed and "2 inputs could not be read" in printed
    assert (
        "broken.jpg: no image of a known format" in printed
        and "127.0.0.1:1/x.png: the download failed" in printed
    )
    assert json.loads(Path("predictions/predictions.json").read_text())


def test_nothing_but_unreadable_files(detector_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"")
    assert infer(detector_run, "broken.jpg") == 1
    assert json.loads(Path("predictions/predictions.json").read_text()) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["photos/none.png"], "there is no photos/none.png"),
        (["photos", "--every", "0"], "--every is 0"),
        (["photos", "--tile", "photos"], "--tile"),
        (["photos", "--score-thr", "7"], "score_thr is 7.0"),
        (["photos", "--out", "."], None),
        (["photos", "--out", "photos/dark.png"], "results cannot be written to photos/dark.png"),
        (["photos", "--bach-size", "3"], "Did you mean '--batch-size'"),
    ],
)
def test_wrong_input_is_one_line(detector_run, photos, capsys, arguments, complaint):
    if complaint is None:
        photos.rename(photos.with_name("pictures"))
        arguments, complaint = ["pictures", *arguments[1:]], "where pictures go"
    try:
        code = infer(detector_run, *arguments)
    except SystemExit as stop:
        code = stop.code
    message = capsys.readouterr().err
    assert code == 2 and complaint in message and "Traceback" not in message
    assert len([line for line in message.splitlines() if line.startswith("error: ")]) == 1


def test_help_fits_a_screen(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["infer", "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 80


@pytest.mark.parametrize("file", ["pictures/a/x.jpg", "predictions.json", "images.json"])
def test_a_full_disk_is_one_line(detector_run, photos, capsys, file: str):
    full = Path("found", file)
    full.parent.mkdir(parents=True)
    full.symlink_to("/dev/full")
    assert infer(detector_run, photos, "--out", "found") == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert errors == [f"error: {full}: No space left on device. Make room, or write elsewhere"]


@pytest.mark.parametrize("limited", [False, True])
def test_a_video_that_has_no_room_is_told(
    detector_run, tmp_path, monkeypatch, capsys, limited: bool
):
    monkeypatch.chdir(tmp_path)
    writer = cv2.VideoWriter("clip.mp4", cv2.VideoWriter_fourcc(*"mp4v"), 10, (96, 64))
    writer.write(draw_image(64, 96, 3, 0, side=(15, 25)))
    writer.release()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limited:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    else:
        Path("predictions/pictures").mkdir(parents=True)
        Path("predictions/pictures/clip.mp4").symlink_to("/dev/full")
    try:
        assert infer(detector_run, "clip.mp4") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    complaint = "clip.mp4 holds 0 of 1 frames" if limited else "clip.mp4 could not be written"
    assert complaint in " ".join(capsys.readouterr().err.split())
    # What was found until then is whole.
    assert isinstance(json.loads(Path("predictions/predictions.json").read_text()), list)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_precision_is_the_one_that_is_named(segmentor_run, photos, capsys, precision):
    assert infer(segmentor_run, photos / "a", "--precision", precision, "--graphs", "off") == 0
    assert f"on cpu in {precision}, with" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", "float16"], "float16 is for GPUs"),
        (["--graphs", "2"], "--graphs 2 asks for CUDA graphs"),
        (["--tf32", "on"], "--tf32 on is for GPUs"),
    ],
)
def test_what_a_cpu_cannot_do_is_told(segmentor_run, photos, capsys, options, message):
    assert infer(segmentor_run, photos / "a", *options) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
