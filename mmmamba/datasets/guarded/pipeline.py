"""A data set's pipeline, its transforms called one by one, so that what goes wrong has a name."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from mmengine.dataset import BaseDataset, Compose

from ..checks.report import Finding
from .ledger import DataError, Ledger
from .samples import box_faults, file_faults, image_faults, label_map_faults, place

IN_A_ROW = 100
"""Images after one another that may be left out before the data are taken to be all bad."""
LAST = 3
LOADED = ("img", "gt_bboxes", "gt_seg_map")
"""What is looked at when it is loaded."""


class CheckedPipeline(Compose):
    """MMEngine's `Compose`, which also looks at what is loaded as soon as it is.

    That is the image, the boxes and the label map.

    Raises:
        DataError: an image cannot be used, or too many in a row cannot. With `skip`, the former is
            written down and None returned, for which the data set takes another image.
    """

    def __init__(self, pipeline: Compose, dataset: BaseDataset, ledger: Ledger, skip: bool) -> None:
        # Those that are built already; `Compose.__init__` would take them for configs to build.
        self.transforms = pipeline.transforms
        self.ledger, self.test_mode = ledger, dataset.test_mode
        self.skip = skip and not dataset.test_mode
        # Not above the data set's own limit, at which MMEngine fails without naming an image.
        self.limit = min(IN_A_ROW, dataset.max_refetch)
        self.row: list[str] = []
        classes = dataset.metainfo.get("classes")
        self.classes = len(classes) if isinstance(classes, (list, tuple)) else None
        # Labels of pixels are those classes only where mmseg reads them.
        self.ignore_index = dataset.ignore_index if hasattr(dataset, "reduce_zero_label") else None

    def __call__(self, sample: dict) -> dict | None:
        file, image = place(sample)
        # Before anything opens them: a pipe would be waited for.
        if faults := list(file_faults(sample)):
            return self._bad(Finding("", file, "; ".join(faults), image))
        for transform in self.transforms:
            # Each is looked at once, right behind its loader: annotations tell the file's size, and
            # later transforms change that of the image.
            missing = {key for key in LOADED if key not in sample}
            try:
                sample = transform(sample)
                faults = list(self._faults(sample, missing))
            except DataError:
                raise
            # Whatever a transform raises is handed on, with the file's name.
            except Exception as error:  # noqa: BLE001
                what = _told(transform, error) + _beside(sample)
                return self._bad(Finding("", file, what, image), error)
            if faults:
                return self._bad(Finding("", file, "; ".join(faults), image))
            if sample is None:
                finding = Finding("", file, type(transform).__name__, image)
                return self._left_out("empty", str(finding))
        self.row.clear()
        return sample

    def _faults(self, sample: Any, missing: set[str]) -> Iterator[str]:
        """What is wrong with what was missing before and is there now."""
        if not missing or not isinstance(sample, dict):
            return
        new = {key for key in missing if key in sample}
        if "img" in new:
            yield from image_faults(sample)
        if "gt_bboxes" in new:
            yield from box_faults(sample, self.classes)
        if "gt_seg_map" in new and self.ignore_index is not None:
            yield from label_map_faults(sample, self.classes, self.ignore_index)

    def _bad(self, finding: Finding, error: Exception | None = None) -> None:
        if not self.skip:
            cure = " To leave such images out of training: --skip-bad-data."
            raise DataError(
                f"{finding}. Mend or remove it.{'' if self.test_mode else cure} "
                "What else is wrong: mmmamba check-data"
            ) from error
        return self._left_out("bad", str(finding))

    def _left_out(self, kind: str, what: str) -> None:
        if self.test_mode:
            raise DataError(f"{what} left nothing of an image to test")
        # A data set that is all bad would otherwise look for a good image for ever.
        self.row.append(what)
        if len(self.row) > self.limit:
            self._stop()
        self.ledger.add(kind, what)

    def _stop(self) -> NoReturn:
        last = "".join(f"\n  {what}" for what in self.row[-LAST:])
        raise DataError(
            f"{len(self.row)} images in a row could not be used, the last of them:{last}"
        )


class CheckedTransform:
    """A transform of a data set that mixes images (mosaic), whose errors name the images."""

    def __init__(self, transform: Any, limit: int) -> None:
        self.transform, self.limit, self.row = transform, limit, 0

    def __call__(self, sample: dict) -> dict | None:
        try:
            result = self.transform(sample)
        except DataError:
            raise
        except Exception as error:
            others = [place(other)[0] for other in sample.get("mix_results") or ()]
            mixed = f" (mixed with {', '.join(others)})" if others else ""
            file, image = place(sample)
            finding = Finding("", file, _told(self.transform, error) + mixed, image)
            raise DataError(str(finding)) from error
        # Before mmdet's own limit, which names neither transform nor image.
        self.row = 0 if result is not None else self.row + 1
        if self.row >= self.limit:
            file, image = place(sample)
            finding = Finding("", file, type(self.transform).__name__, image)
            raise DataError(f"{finding} left nothing, {self.row} times")
        return result

    def __getattr__(self, name: str) -> Any:
        # Asked for before there is a transform (unpickling).
        if name.startswith("__") or "transform" not in self.__dict__:
            raise AttributeError(name)
        # mmdet asks mosaic and its like for `get_indexes`.
        return getattr(self.transform, name)

    def __repr__(self) -> str:
        return repr(self.transform)


def _beside(sample: Any) -> str:
    """The label map of an image, where that may be what could not be loaded."""
    # Loaded already, it is not what failed.
    if not isinstance(sample, dict) or "gt_seg_map" in sample:
        return ""
    path = sample.get("seg_map_path")
    return f", label map {path}" if path else ""


def _told(transform: Any, error: Exception) -> str:
    """Transform, error, and the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())[:300]
    return f"{type(transform).__name__}: {type(error).__name__}{': ' + text if text else ''}{where}"
