"""COCO annotations looked at while mmdet reads them.

mmdet drops some in silence and fails at others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from ..checks.coco import check_coco, read_coco
from ..checks.instances import FARTHEST, SLACK, box_faults, is_number, mask_faults
from ..checks.kinds import KINDS
from ..checks.report import Report
from .ledger import DataError

FATAL = (
    "annotation-record",
    "box-broken",
    "mask-missing",
    "polygon-broken",
    "rle-broken",
    "rle-size",
)
"""Annotations with which training fails, or goes on with NaN."""
UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What data sets raise while they read annotations that are none."""
SHOWN = 3


class CheckedParse:
    """In the place of a `CocoDataset`'s `parse_data_info` while it reads its file."""

    def __init__(self, dataset: BaseDataset, masks: bool, skip: bool) -> None:
        self.dataset, self.masks, self.skip = dataset, masks, skip
        # Bound before this object takes its place, so it is mmdet's own.
        self.parse = dataset.parse_data_info
        self.report = Report("", dataset.ann_file)
        self.seen = 0

    def __call__(self, raw: dict) -> Any:
        image, annotations = raw["raw_img_info"], raw["raw_ann_info"]
        self.seen += len(annotations)
        size = image.get("width"), image.get("height")
        # mmdet computes with the sizes and would fail at once; an empty entry lets it read on, so
        # that `finish` can name every such image.
        if not all(is_number(side) and side >= 1 for side in size):
            self.report.add(
                "image-record",
                f"{image.get('file_name')} has width {size[0]!r} and height {size[1]!r}",
                image=image["id"],
            )
            return dict(img_id=image["id"], instances=[], width=0, height=0)
        known = self.dataset.coco.cats
        usable = []
        for annotation in annotations:
            # Nearly all are plain, which is quickly seen; the others are looked at one by one.
            plain = _is_plain(annotation, *size, self.masks, known)
            if plain or not self._must_go(annotation, size, known):
                usable.append(annotation)
        return self.parse(dict(raw, raw_ann_info=usable))

    def _must_go(self, annotation: dict, size: tuple[int, int], known: dict) -> bool:
        """Count what is wrong with an annotation. Whether it must be left out."""
        place = dict(image=annotation.get("image_id"), annotation=annotation.get("id"))
        must_go = False
        for kind, detail in _all_faults(annotation, size, self.masks, known):
            self.report.add(kind, detail, **place)
            must_go |= kind in FATAL or kind == "category-unknown"
        return must_go

    def finish(self) -> None:
        """Log what was left out.

        Raises:
            DataError: an image without a size, or an annotation that cannot be used and is not to
                be skipped.
        """
        fatal = []
        # What training can do without is a warning; all that is fatal comes in one error.
        for kind, number in self.report.counts.items():
            if kind == "image-record" or (kind in FATAL and not self.skip):
                fatal.append(kind)
                continue
            found = f"{self.report.file}: of {self.seen} annotations {number}: {KINDS[kind].title}"
            text = f"{found}, {KINDS[kind].advice}{_examples(self.report, kind)}"
            print_log(text, "current", logging.WARNING)
        if not fatal:
            return
        lines = [f"{self.report.file} cannot be used as it is"]
        for kind in fatal:
            times = self.report.counts[kind]
            lines.append(f"{times} times: {KINDS[kind].title}{_examples(self.report, kind)}")
        skipping = ", or train without these annotations: --skip-bad-data"
        lines.append("Mend it" + ("" if "image-record" in fatal else skipping))
        raise DataError("\n".join(lines))


def load_checked(dataset: BaseDataset, masks: bool, skip: bool) -> None:
    """`full_init` of a `CocoDataset`, with every annotation looked at.

    Raises:
        DataError: the file or annotations of it cannot be used.
    """
    # mmdet parses inside of `full_init`; its method is hidden by an attribute of the object.
    checked = CheckedParse(dataset, masks, skip)
    # On this object alone, and only while it reads.
    dataset.parse_data_info = checked
    try:
        dataset.full_init()
    except UNREADABLE as error:
        raise DataError(
            f"{dataset.ann_file} cannot be read: {_reason(dataset, masks, error)}"
        ) from error
    finally:
        del dataset.parse_data_info
    checked.finish()


def _is_plain(annotation: dict, width: float, height: float, masks: bool, known: dict) -> bool:
    """Whether there is surely nothing wrong: a quick look, three seconds for a million.

    Comparisons alone let NaN and wrong types through; the sum of all numbers does not.
    """
    try:
        x, y, w, h = annotation["bbox"]
        total = annotation["area"]
        if not (
            total > 0
            and w >= 1
            and h >= 1
            and x >= -SLACK
            and y >= -SLACK
            and x + w <= width + SLACK
            and y + h <= height + SLACK
            and annotation["category_id"] in known
        ):
            return False
        if masks:
            # No mask at all is None here, which raises a TypeError below.
            for polygon in annotation["segmentation"] or (None,):
                low, high = min(polygon), max(polygon)
                # Longer than any outline of so many points.
                reach = len(polygon) * max(high - low, high, -low)
                if len(polygon) < 6 or len(polygon) % 2 or reach > FARTHEST:
                    return False
                total += sum(polygon)
        # NaN and infinity are the numbers that minus themselves are not 0.
        return total - total == 0
    except (KeyError, TypeError, ValueError):
        return False


def _all_faults(
    annotation: dict, size: tuple[int, int], masks: bool, known: dict
) -> Iterator[tuple[str, str]]:
    # mmdet looks at the category last, after box and area, which such an annotation need not have.
    # So it is left out whole, and its box is not looked at here either.
    category = annotation.get("category_id")
    if not isinstance(category, (int, float, str)) or category not in known:
        yield "category-unknown", f"category {category!r}"
        return
    # mmdet passes over these before it reads anything else of them.
    if annotation.get("ignore"):
        return
    yield from box_faults(annotation, *size)
    if masks:
        if not annotation.get("segmentation"):
            yield "mask-missing", ""
        yield from mask_faults(annotation, *size)


def _reason(dataset: BaseDataset, masks: bool, error: Exception) -> str:
    """What is wrong with a file that mmdet cannot read: by entry, where the checks find it."""
    # mmdet's error names no entry; the file is read once more, now that training cannot start.
    report = Report("", dataset.ann_file)
    content = read_coco(dataset.ann_file, report)
    if content is not None:
        report = check_coco(
            content, None, dataset.metainfo.get("classes"), file=dataset.ann_file, masks=masks
        )
    faults = [kind for kind in report.counts if KINDS[kind].severity != "note"]
    lines = [f"{KINDS[kind].title}{_examples(report, kind)}" for kind in faults]
    return "\n".join([f"{type(error).__name__}: {error}", *lines])


def _examples(report: Report, kind: str) -> str:
    more = report.counts[kind] - SHOWN
    lines = [f"\n  {finding}" for finding in report.examples[kind][:SHOWN]]
    return "".join(lines) + (f"\n  … and {more} more" if more > 0 else "")
