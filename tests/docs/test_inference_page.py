"""Every block of docs/inference.md does what it says."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2

from ..inference import colours
from ..inference.colours import draw_image
from .blocks import run_page

detector_run = colours.detector_run


def test_the_page(detector_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(detector_run, "work_dirs/demo")
    for name in ("photos", "more/deep"):
        Path(name).mkdir(parents=True)
    for seed, name in enumerate(("photo.jpg", "photos/a.jpg", "photos/b.jpg", "more/deep/c.png")):
        cv2.imwrite(name, draw_image(60, 80, 4, seed, side=(10, 25)))
    cv2.imwrite("aerial.png", draw_image(300, 1100, 20))
    writer = cv2.VideoWriter("clip.mp4", cv2.VideoWriter_fourcc(*"mp4v"), 10, (96, 64))
    for seed in range(11):
        writer.write(draw_image(64, 96, 2, seed))
    writer.release()
    run_page("docs/inference.md", parsed=("demo 0", "rtsp://"))
    assert (
        len(list(Path("found/pictures").rglob("*.*"))) == 4 and cv2.imread("found.jpg") is not None
    )
    assert "8 objects in 2 images" in capsys.readouterr().out
