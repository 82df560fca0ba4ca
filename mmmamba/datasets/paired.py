"""Data sets of aligned pairs of images with label maps."""

from __future__ import annotations

import os.path
from typing import Any

from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset

from ..errors import UsageError


@DATASETS.register_module()
class PairedSegDataset(BaseSegDataset):
    """mmseg's `BaseSegDataset` whose images have a second one of the same name in another folder.

    `data_prefix=dict(img_path="rgb/train", second_path="depth/train", seg_map_path="maps/train")`,
    below `data_root`. Samples get `second_path`, which `LoadPairedImage` reads.

    Args:
        second_suffix: of the second files, as `img_suffix` of the first; the same if None.
        settings: those of `BaseSegDataset`.

    Raises:
        UsageError: `data_prefix` names no folder of second images.
    """

    def __init__(self, second_suffix: str | None = None, **settings: Any) -> None:
        prefix = settings.get("data_prefix") or {}
        if not prefix.get("second_path"):
            raise UsageError(
                f"data_prefix of PairedSegDataset has {', '.join(prefix) or 'nothing'}, and no "
                "second_path: the folder of the second images, as img_path is that of the first"
            )
        self._second_suffix = second_suffix
        super().__init__(**settings)

    @property
    def second_suffix(self) -> str:
        """What follows a name that the two of a pair share."""
        return self.img_suffix if self._second_suffix is None else self._second_suffix

    def load_data_list(self) -> list[dict]:
        entries = super().load_data_list()
        first, second = (self.data_prefix[key] for key in ("img_path", "second_path"))
        for entry in entries:
            name = entry["img_path"].removeprefix(os.path.join(first, ""))
            name = name.removesuffix(self.img_suffix) + self.second_suffix
            entry["second_path"] = os.path.join(second, name)
        return entries
