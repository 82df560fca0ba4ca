"""What files do, and the library whose results that is."""

from __future__ import annotations

from typing import NamedTuple

from ..config.modules import need_mmpretrain


class Opens(NamedTuple):
    """The library, and the class of `exporting.opened` that makes its results of a file's."""

    library: str
    kind: str


MODELS_OF = {
    "detection": Opens("mmdet", "ExportedDetector"),
    "segmentation": Opens("mmseg", "ExportedSegmentor"),
    "saliency": Opens("mmseg", "ExportedSaliency"),
    "classification": Opens("mmpretrain", "ExportedClassifier"),
}


def register_model(task: str) -> Opens:
    """The entry of a task in `MODELS_OF`, whose class is registered from then on.

    Raises:
        UsageError: the library is not installed.
    """
    found = MODELS_OF[task]
    if found.library == "mmpretrain":
        need_mmpretrain()
    # Late: the libraries take seconds to load.
    from . import opened  # noqa: F401

    if found.library == "mmpretrain":
        from .opened import classifier  # noqa: F401
    return found
