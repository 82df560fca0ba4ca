"""What can be wrong with saliency and fixation maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...structures.samples import Sample
from ..saliency.files import Triple, read_fixations, read_saliency
from .channels import AS_COLOURS, Reading
from .images import UNREADABLE, ImageFacts, in_threads, read_image, read_image_facts
from .regular import irregular
from .report import ClassCount, Report
from .splits import Split

MOST_FIXATED = 0.05
"""Share of an image's pixels that so many viewers cannot have looked at."""
SHAPES_DIFFER = 0.02
"""From which on the proportions of a map are not those of its image, which rounding explains."""

Read = tuple[np.ndarray | None, str]
"""A map, or why there is none."""


def check_saliency(split: Split, decode: bool = True, reading: Reading = AS_COLOURS) -> Report:
    """Check one split of a config: all maps are read.

    Args:
        decode: read images whole; otherwise their headers only.
        reading: what becomes of the channels of the images.
    """
    found = split.dataset.triples()
    wants_fixations = bool(split.dataset.data_prefix.get("fixation_map_path"))
    report = Report(split.name, folder_of(split), unit="fixations", images=len(found))
    check_saliency_use(split, found, report)

    def read(one: Triple) -> tuple[ImageFacts, Read, Read]:
        facts = read_image_facts(one.image, decode)
        return facts, _read(read_saliency, one.saliency), _read(read_fixations, one.fixation)

    looked_at = ClassCount()
    for one, (facts, saliency, fixations) in in_threads(read, found, f"{split.name}: maps"):
        facts = replace(facts, turned=facts.turned and reading.turns)
        if facts.error:
            report.add("image-unreadable", facts.error, file=str(one.image))
        for kind, detail in () if facts.error else reading.notes(facts):
            report.add(kind, detail, file=str(one.image))
        for path, (map_HW, error) in ((one.saliency, saliency), (one.fixation, fixations)):
            if error:
                report.add("label-unreadable", error, file=str(path))
            elif map_HW is not None and not facts.error:
                _check_shape(path, map_HW, facts, report)
        if saliency[0] is not None and not saliency[0].any():
            report.add("saliency-empty", file=str(one.saliency))
        if fixations[0] is not None:
            points = int(fixations[0].sum())
            looked_at.amount += points
            looked_at.images += points > 0
            _check_points(one.fixation, points, fixations[0].size, report)
    if wants_fixations:
        report.classes = {"looked at": looked_at}
    return report


def check_saliency_use(split: Split, found: Sequence[Triple], report: Report) -> None:
    """There are images, and the maps that are asked for with each. Nothing is read."""
    report.images = len(found)
    if not found:
        report.add("no-images", f"no image in {split.dataset.data_prefix['img_path']}")
    wants_fixations = bool(split.dataset.data_prefix.get("fixation_map_path"))
    for one in found:
        if one.saliency is None:
            report.add("saliency-missing", file=str(one.image))
        if one.fixation is None and wants_fixations:
            report.add("fixations-missing", file=str(one.image))


def folder_of(split: Split) -> str:
    """The folder of the saliency maps."""
    return str(split.dataset.data_prefix["saliency_map_path"])


def saliency_samples(found: Sequence[Triple], number: int) -> list[Sample]:
    """Images spread over the data set, with their maps."""
    samples: list[Sample] = []
    for one in found[:: max(len(found) // max(number, 1), 1)][:number]:
        map_HW, _ = _read(read_saliency, one.saliency)
        facts = read_image_facts(one.image)
        if map_HW is not None and not facts.error:
            samples.append(Sample(one.image.name, read_image(one.image), saliency=map_HW))
    return samples


def _read(read: Callable[[bytes, str], np.ndarray], path: Path | None) -> Read:
    if path is None:
        return None, ""
    if found := irregular(path):
        return None, found
    try:
        return read(path.read_bytes(), str(path)), ""
    except UNREADABLE as error:
        return None, str(error) or type(error).__name__


def _check_shape(path: Path | None, map_HW: np.ndarray, facts: ImageFacts, report: Report) -> None:
    width, height = facts.seen_size
    proportions = map_HW.shape[1] / map_HW.shape[0] * height / width
    if abs(proportions - 1) > SHAPES_DIFFER:
        sizes = f"{map_HW.shape[1]} x {map_HW.shape[0]}, the image is {width} x {height}"
        report.add("map-shape", sizes, file=str(path))


def _check_points(path: Path | None, points: int, pixels: int, report: Report) -> None:
    if not points:
        report.add("fixations-none", file=str(path))
    elif points > MOST_FIXATED * pixels:
        report.add("fixations-many", f"{points / pixels:.0%} of the pixels", file=str(path))
