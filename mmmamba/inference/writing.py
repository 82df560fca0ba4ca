"""A folder of results: pictures, label maps, JSON in COCO's format, tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from ..errors import UsageError, naming
from ..structures.classes import Classes
from .results import Classification, Detections, Result
from .saliency import Saliency
from .sources import Frame, Source, is_url

PICTURES, LABELS, MAPS = "pictures", "labels", "maps"


class JsonList(AbstractContextManager):
    """A JSON list written entry by entry, whole also when the run is interrupted."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.open("w", encoding="utf-8")
        self._before = "[\n"

    def add(self, entry: Any) -> None:
        with naming(self._path):
            self._file.write(self._before + json.dumps(entry, ensure_ascii=False))
        self._before = ",\n"

    def __exit__(self, *error: Any) -> None:
        with naming(self._path), self._file:
            # Also after an error: what was written until then is a whole list.
            self._file.write("\n]\n" if self._before != "[\n" else "[]\n")


class CsvTable(AbstractContextManager):
    """A CSV file written row by row; its columns are those of the first row."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.open("w", newline="", encoding="utf-8")
        self._writer: csv.DictWriter | None = None

    def add(self, row: dict[str, Any]) -> None:
        with naming(self._path):
            if self._writer is None:
                self._writer = csv.DictWriter(self._file, list(row), lineterminator="\n")
                self._writer.writeheader()
            self._writer.writerow(row)

    def __exit__(self, *error: Any) -> None:
        with naming(self._path):
            self._file.close()


class ResultFolder(AbstractContextManager):
    """Where results go.

    - `pictures/NAME.jpg`, of videos `pictures/NAME.mp4`: what was found, drawn.
    - detection: `predictions.json`, COCO's list of results, and `images.json`, the images and
      categories it is about, which `pycocotools.coco.COCO` reads.
    - segmentation: `labels/NAME.png`, an index of a class for each pixel, and `images.json` with
      the share of the pixels that each class covers.
    - saliency: `maps/NAME.png`, grey of 16 bits, and `images.json` with the most salient pixel.
    - classification: `predictions.csv`, an image a row with its surest classes, and `images.json`
      with the same.

    Raises:
        UsageError: a picture would take the place of an input, or nothing can be written there.
    """

    def __init__(
        self, folder: str | Path, sources: Sequence[Source], classes: Classes, task: str
    ) -> None:
        self.folder = Path(folder)
        _keep_inputs(self.folder, sources)
        self._classes = classes
        self._images: list[dict[str, Any]] = []
        self._open = ExitStack()
        self._predictions: JsonList | None = None
        self._table: CsvTable | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if task == "detection":
                self._predictions = self._open.enter_context(
                    JsonList(self.folder / "predictions.json")
                )
            elif task == "classification":
                self._table = self._open.enter_context(CsvTable(self.folder / "predictions.csv"))
        except OSError as error:
            raise UsageError(
                f"results cannot be written to {folder}: {error}. Name another --out"
            ) from error
        self._video: tuple[Source, cv2.VideoWriter] | None = None
        self._video_path, self._frames = self.folder, 0

    def add(self, frame: Frame, result: Result) -> None:
        """Write one result.

        Raises:
            OSError: a file could not be written.
            UsageError: a video could not.
        """
        source = frame.source
        height, width = result.image.shape[:2]
        entry: dict[str, Any] = dict(
            id=len(self._images) + 1, file_name=source.name, width=width, height=height
        )
        if source.video:
            entry |= dict(frame=frame.number, seconds=round(frame.seconds, 3))
            # A video becomes one picture file and a label map for each frame.
            picture = Path(PICTURES, f"{source.stem}.mp4")
            still = Path(f"{source.stem}.mp4", f"{frame.number:06d}.png")
            self._add_to_video(frame, self.folder / picture, result.plot())
        else:
            picture = Path(PICTURES, f"{source.stem}.jpg")
            still = Path(f"{source.stem}.png")
            result.save(self.folder / picture)
        entry["picture"] = picture.as_posix()
        if isinstance(result, Detections):
            for prediction in result.to_coco(entry["id"]):
                self._predictions.add(prediction)
        elif isinstance(result, Classification):
            found = {name: round(float(s), 6) for name, s in zip(result.names, result.scores)}
            entry |= dict(scores=found)
            self._table.add(_row(frame, found))
        elif isinstance(result, Saliency):
            result.save_map(self.folder / MAPS / still)
            (entry["saliency"],) = result.rows()
            entry["map"] = Path(MAPS, still).as_posix()
        else:
            labels = Path(LABELS, still)
            result.save_labels(self.folder / labels)
            shares = {name: round(share, 6) for name, share in result.shares().items()}
            entry |= dict(labels=labels.as_posix(), shares=shares)
        self._images.append(entry)

    def _add_to_video(self, frame: Frame, path: Path, picture: np.ndarray) -> None:
        # Frames of a video come one after the other: one writer is open at a time.
        if self._video is None or self._video[0] != frame.source:
            self._end_video()
            path.parent.mkdir(parents=True, exist_ok=True)
            size = picture.shape[1::-1]
            # MPEG-4, the codec that every build of OpenCV brings along.
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), frame.rate, size)
            if not writer.isOpened():
                raise UsageError(
                    f"{path} could not be written: OpenCV opened no MP4 writer for {size} pixels. "
                    "Is there room, can the folder be written to? Name another --out"
                )
            self._video, self._video_path, self._frames = (frame.source, writer), path, 0
        # A stream's frames come when there is time for them; the video takes as long as it did.
        due = round(frame.seconds * frame.rate) if frame.source.live else self._frames
        while self._frames <= due:
            self._video[1].write(picture)
            self._frames += 1

    def _end_video(self) -> None:
        if self._video is None:
            return
        self._video[1].release()
        self._video = None
        # OpenCV says nothing where a disk is full.
        held = int(cv2.VideoCapture(str(self._video_path)).get(cv2.CAP_PROP_FRAME_COUNT))
        if held != self._frames:
            raise UsageError(
                f"{self._video_path} holds {held} of {self._frames} frames: is the disk full? "
                "Make room, or name another --out"
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._end_video()
        finally:
            self._open.close()
        content: dict[str, Any] = {"images": self._images}
        if self._predictions is not None:
            content["categories"] = self._classes.categories
        else:
            content["classes"] = list(self._classes.names)
        listing = self.folder / "images.json"
        with naming(listing):
            listing.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def _row(frame: Frame, found: dict[str, float]) -> dict[str, Any]:
    """An image, or a frame of a video, with its classes, the surest first."""
    row: dict[str, Any] = dict(file_name=frame.source.name, frame=None, seconds=None)
    if frame.source.video:
        row |= dict(frame=frame.number, seconds=round(frame.seconds, 3))
    for rank, (name, score) in enumerate(found.items(), 1):
        row |= {f"class_{rank}": name, f"score_{rank}": score}
    return row


def _keep_inputs(folder: Path, sources: Sequence[Source]) -> None:
    """Refuse inputs that pictures could take the place of."""
    pictures = folder / PICTURES
    for source in sources:
        if source.live or is_url(source.place):
            continue
        if pictures.resolve() in Path(source.place).resolve().parents:
            raise UsageError(
                f"{source.place} lies in {pictures}, where pictures go. Name another --out"
            )
