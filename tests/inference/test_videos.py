"""Frames of cameras and streams, and what a model finds in those of a video."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmmamba.errors import UsageError
from mmmamba.inference import Predictor, UnreadableImage, find_sources, read_frames

from .cameras import camera
from .colours import draw_image


def flat(count: int) -> list[np.ndarray]:
    """Images that tell their number."""
    return [np.full((48, 64, 3), 4 * number, np.uint8) for number in range(count)]


def test_a_stream_gives_its_newest_frame() -> None:
    with camera(flat(40)) as address:
        (source,) = find_sources([address])
        assert source.live and source.stem == "door" and "secret" not in source.name
        frames = []
        for frame in read_frames(source, None, every=2):
            frames.append(frame)
            time.sleep(0.1)
    numbers = [frame.number for frame in frames]
    # Five come while one is looked at, and the last one stays.
    assert len(numbers) < 15 and numbers[-1] >= 38
    assert min(np.diff(numbers)) >= 2 and max(np.diff(numbers)) > 2
    assert [round(float(frame.image.mean()) / 4) for frame in frames] == numbers
    seconds = [frame.seconds for frame in frames]
    assert seconds == sorted(seconds) and seconds[-1] > 0.1


def test_a_stream_can_be_left() -> None:
    with camera(500 * flat(1)) as address:
        started = time.perf_counter()
        (source,) = find_sources([address])
        assert len(list(read_frames(source, None, most=3))) == 3
        for _ in islice(read_frames(source, None), 2):
            pass
        assert time.perf_counter() - started < 5


@pytest.mark.parametrize("given", [97, "97", "rtsp://127.0.0.1:1/door"])
def test_a_camera_that_is_not_there(given: str | int) -> None:
    (source,) = find_sources([given])
    assert source.live and source.video
    with pytest.raises(UnreadableImage, match=r"(camera 97|/door): OpenCV opened no camera"):
        next(read_frames(source, None))


def test_a_file_whose_name_is_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("0").mkdir()
    cv2.imwrite("0/photo.png", flat(1)[0])
    (source,) = find_sources(["0"])
    assert not source.live and source.name == "photo.png"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (96, 64))
    for seed in range(5):
        writer.write(draw_image(64, 96, 3, seed, side=(15, 25)))
    writer.release()
    return path


def test_a_model_goes_through_a_video(detector_run: Path, clip: Path) -> None:
    model = Predictor(detector_run, batch_size=2)
    results = list(model.stream(clip, every=2))
    assert [frame.seconds for frame, _ in results] == [0, 0.2, 0.4]
    for frame, found in results:
        assert found.image is frame.image and found.path == "clip.mp4" and len(found) == 3
    assert [frame.number for frame, _ in model.stream([clip], frames=2)] == [0, 1]


def test_what_a_model_cannot_read_is_told_or_left_out(detector_run: Path, clip: Path) -> None:
    model, broken = Predictor(detector_run), clip.with_name("broken.png")
    broken.write_bytes(b"no image")
    with pytest.raises(UnreadableImage, match="broken.png"):
        list(model.stream([broken, clip]))
    left: list[UnreadableImage] = []
    assert len(list(model.stream([broken, clip], unreadable=left.append))) == 5
    assert len(left) == 1
    with pytest.raises(UsageError, match="every is 0"):
        model.stream(clip, every=0)
