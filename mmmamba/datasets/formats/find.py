"""Which format the label files below a folder are of."""

from __future__ import annotations

from pathlib import Path

from ...errors import UsageError
from .labelme import find_labelme
from .source import Source
from .voc import find_voc
from .yolo import find_bare_yolo
from .yolo_yaml import SUFFIXES, find_yaml, yolo_yaml_source


def find_source(place: Path) -> Source | None:
    """The label files of a folder, or of the data set that a `data.yaml` describes.

    None where there are none in a format that is known here.

    Raises:
        UsageError: they cannot be read as a data set.
    """
    if place.is_file():
        if place.suffix.lower() not in SUFFIXES:
            raise UsageError(
                f"{place} is a file; --data takes a folder, or the data.yaml of YOLO labels"
            )
        return yolo_yaml_source(place)
    described = find_yaml(place)
    if described:
        return yolo_yaml_source(described)
    for find in (find_voc, find_labelme, find_bare_yolo):
        source = find(place)
        if source is not None:
            return source
    return None
