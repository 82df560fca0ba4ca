"""Frames of video files, cameras and streams, through OpenCV."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np

RATE = 25.0
"""Frames a second of what does not say how fast it runs."""
PATIENCE = 10.0
"""Seconds that a stream may take to open, or be without a frame, before it is given up."""


@dataclass(frozen=True)
class Picture:
    """A frame (H, W, 3): its number, from 0, when it was taken, and frames a second."""

    image: np.ndarray
    number: int
    seconds: float
    rate: float


def file_frames(path: str | Path, every: int) -> Iterator[Picture]:
    """Every so many frames of a file; none where it is no video."""
    with opened(path) as video:
        rate = _rate(video)
        number = -1
        while video.grab():
            number += 1
            # `grab` only steps on; decoding, which takes the time, is done for wanted frames.
            if number % every == 0:
                yield Picture(video.retrieve()[1], number, number / rate, rate)


def live_frames(place: str, every: int) -> Iterator[Picture]:
    """The newest frame of a camera or a stream, whenever it is asked for; at least `every` apart.

    Frames that come while nobody asks are left out, so that what is seen is never old. None where
    it cannot be opened.

    Args:
        place: number of a camera, its device file, or an address.
    """
    with opened(place) as video, _Newest(video) as newest:
        rate, due = _rate(video), 0
        while (frame := newest.take(due)) is not None:
            number, seconds, image = frame
            due = number + every
            yield Picture(image, number, seconds, rate)


@contextmanager
def opened(place: str | Path) -> Iterator[cv2.VideoCapture]:
    """OpenCV's reader, which may have failed to open."""
    place = str(place)
    if place.isdecimal():
        video = cv2.VideoCapture(int(place))
    elif "://" in place:
        # By default half a minute each.
        limits = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
        settings = [value for limit in limits for value in (limit, round(1000 * PATIENCE))]
        video = cv2.VideoCapture(place, cv2.CAP_FFMPEG, settings)
    else:
        video = cv2.VideoCapture(place)
    try:
        yield video
    finally:
        video.release()


class _Newest:
    """Reads frames in a thread of its own and keeps the last one.

    Cameras and servers hold only a few: what is not fetched in time comes late, or ends the stream.
    """

    def __init__(self, video: cv2.VideoCapture) -> None:
        self._video, self._news = video, threading.Condition()
        self._frame: tuple[int, float, np.ndarray] | None = None
        self._ended = self._left = False
        self._thread = threading.Thread(target=self._fetch, name="mmmamba-frames", daemon=True)

    def __enter__(self) -> _Newest:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._left = True
        # OpenCV's reader must not be released while it reads.
        self._thread.join()

    def take(self, due: int) -> tuple[int, float, np.ndarray] | None:
        """Number, time and image of the newest frame from a number on; None once it has ended."""
        with self._news:
            self._news.wait_for(lambda: self._ended or self._number() >= due)
            return self._frame if self._number() >= due else None

    def _number(self) -> int:
        return -1 if self._frame is None else self._frame[0]

    def _fetch(self) -> None:
        number, begun = 0, None
        while not self._left:
            is_there, image = self._video.read()
            now = perf_counter()
            begun = now if begun is None else begun
            with self._news:
                if is_there:
                    self._frame = (number, now - begun, image)
                self._ended = not is_there
                self._news.notify_all()
            if not is_there:
                return
            number += 1


def _rate(video: cv2.VideoCapture) -> float:
    return video.get(cv2.CAP_PROP_FPS) or RATE
