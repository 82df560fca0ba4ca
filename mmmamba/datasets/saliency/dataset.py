"""Folders of images, saliency maps and fixations, as SALICON has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from ...errors import UsageError
from .files import Triple, triples


@DATASETS.register_module()
class SaliencyDataset(BaseDataset):
    """Images, each with a saliency map of its name and, where wanted, a fixation map.

    `images/train/a.jpg`, `maps/train/a.png`, `fixations/train/a.png` (or SALICON's `a.mat`).

    Args:
        data_prefix: folders below `data_root`: `img_path`, `saliency_map_path` and, where losses or
            metrics ask for fixations, `fixation_map_path`.
        condition: the kind of these images, by number or name, which the model is told of each;
            None leaves it to the model.
        arguments: those of mmengine's `BaseDataset`.

    Raises:
        UsageError: a folder is not named; when it is read, an image lacks a map.
    """

    METAINFO = dict(classes=("saliency",), palette=[[252, 165, 10]])

    def __init__(
        self,
        data_prefix: dict[str, str],
        data_root: str = "",
        condition: int | str | None = None,
        **arguments: Any,
    ):
        lacking = {"img_path", "saliency_map_path"} - data_prefix.keys()
        if lacking:
            raise UsageError(
                f"data_prefix of SaliencyDataset lacks {', '.join(sorted(lacking))}: wanted "
                "dict(img_path='images/train', saliency_map_path='maps/train'), and "
                "fixation_map_path for losses and metrics of fixations"
            )
        self.condition = condition
        super().__init__(data_root=data_root, data_prefix=dict(data_prefix), **arguments)

    def triples(self) -> list[Triple]:
        """Images and maps as they lie in the folders, complete or not."""
        fixations = self.data_prefix.get("fixation_map_path")
        return triples(
            Path(self.data_prefix["img_path"]),
            Path(self.data_prefix["saliency_map_path"]),
            Path(fixations) if fixations else None,
        )

    def load_data_list(self) -> list[dict]:
        """Paths of each image and of its maps."""
        found = self.triples()
        for kind, key in (("saliency", "saliency_map_path"), ("fixation", "fixation_map_path")):
            folder = self.data_prefix.get(key)
            lacking = [t.image for t in found if folder and getattr(t, kind) is None]
            if lacking:
                raise UsageError(
                    f"{len(lacking)} of {len(found)} images have no {kind} map of their name in "
                    f"{folder}, the first of them {lacking[0]}"
                )
        return [self._entry(one) for one in found]

    def _entry(self, one: Triple) -> dict:
        entry = dict(img_path=str(one.image), saliency_map_path=str(one.saliency))
        if one.fixation is not None:
            entry["fixation_map_path"] = str(one.fixation)
        if self.condition is not None:
            entry["condition"] = self.condition
        return entry
