"""A data set whose samples are the tiles of another one's images."""

from __future__ import annotations

import hashlib
from typing import Any

from mmengine.dataset import BaseDataset, Compose
from mmengine.registry import DATASETS

from ...errors import UsageError
from ...structures.tiles import OVERLAP, check_tiling, image_tiles
from .cutting import cut_instances
from .loading import KEY, install

MIN_VISIBLE = 0.5
KEEP_EMPTY = 0.1


@DATASETS.register_module()
class TiledDataset(BaseDataset):
    """Each tile of each image of a detector's data set as a sample of its own.

    The pipeline is that of the data set inside; it gets tiles where it got images. Slicing as
    SAHI does it (arXiv 2202.06934). Samples hold their `tile` (`ImageTile`), by which
    `TiledCocoMetric` joins what is found in them. The order is that of the images, and in each row
    by row; it depends on nothing but the arguments and the annotations.

    Args:
        dataset: as `CocoDataset`, with its pipeline.
        size: pixels of a tile's side. Images that are no larger are one tile.
        overlap: of neighbouring tiles, as a share of the side.
        min_visible: objects of which a smaller share of the area lies in a tile are ignored there
            (`ignore_flag` 1).
        keep_empty: the share of tiles without any object to learn that training keeps, chosen by
            a hash of image and place (0.1). Tests have all tiles.
        keep_images: decoded images that each process holds for their next tiles.
        lazy_init: read annotations when they are first asked for.

    Raises:
        UsageError: a value is out of range, or the data set is none whose images can be cut.
    """

    def __init__(
        self,
        dataset: Any,
        size: int,
        overlap: float = OVERLAP,
        min_visible: float = MIN_VISIBLE,
        keep_empty: float | None = None,
        keep_images: int = 1,
        lazy_init: bool = False,
    ) -> None:
        inner = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        _check(inner, size, overlap, min_visible, keep_empty, keep_images)
        self.dataset = inner
        self.size, self.overlap, self.min_visible = size, overlap, min_visible
        self.keep_empty = 1.0 if inner.test_mode else KEEP_EMPTY
        if keep_empty is not None:
            self.keep_empty = keep_empty
        self.keep_images = keep_images
        super().__init__(
            pipeline=list(inner.pipeline.transforms),
            serialize_data=inner.serialize_data,
            test_mode=inner.test_mode,
            max_refetch=inner.max_refetch,
            lazy_init=lazy_init,
        )

    @property
    def metainfo(self) -> dict:
        return self.dataset.metainfo

    @property
    def pipeline(self) -> Compose:
        """That of the data set inside, which loads tiles.

        What is assigned to it, as mmdet's PipelineSwitchHook does, loads tiles from then on.
        """
        return self.dataset.pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Compose) -> None:
        install(pipeline.transforms, self.keep_images)
        self.dataset.pipeline = pipeline

    def load_data_list(self) -> list[dict]:
        """The tiles that are kept, each with the objects in it.

        Raises:
            UsageError: none is left, or what the images are labelled with cannot be cut.
        """
        found = []
        for index in range(len(self.dataset)):
            found += self._tiles_of(self.dataset.get_data_info(index))
        if not found:
            raise UsageError(
                f"no tile of the {len(self.dataset)} images of {self.dataset.ann_file} has an "
                f"object to learn; keep_empty is {self.keep_empty:g}"
            )
        return found

    def get_cat_ids(self, idx: int) -> list[int]:
        """The classes of a tile's objects, for samplers that balance them."""
        return [instance["bbox_label"] for instance in self.get_data_info(idx)["instances"]]

    def _tiles_of(self, image: dict) -> list[dict]:
        if "proposals" in image:
            raise UsageError("TiledDataset cuts no proposals (proposal_file): leave them out")
        height, width = image["height"], image["width"]
        tiles = image_tiles(height, width, self.size, self.overlap)
        cut = cut_instances(image.get("instances", ()), tiles, height, width, self.min_visible)
        found = []
        for tile, instances in zip(tiles, cut):
            empty = all(instance["ignore_flag"] for instance in instances)
            place = f"{image.get('img_id')} {tile.x} {tile.y}"
            if empty and _chance(place) >= self.keep_empty:
                continue
            size = dict(height=tile.height, width=tile.width)
            found.append({**image, **size, "instances": instances, KEY: tile})
        return found


def _chance(text: str) -> float:
    """A number from 0 to below 1 that a text has on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def _check(
    inner: Any,
    size: int,
    overlap: float,
    min_visible: float,
    keep_empty: float | None,
    keep_images: int,
) -> None:
    check_tiling(size, overlap)
    if not 0 <= min_visible <= 1:
        raise UsageError(f"min_visible is {min_visible}, wanted a share of an object from 0 to 1")
    if keep_empty is not None and not 0 <= keep_empty <= 1:
        raise UsageError(f"keep_empty is {keep_empty}, wanted a share of the tiles from 0 to 1")
    if keep_images < 0:
        raise UsageError(f"keep_images is {keep_images}, wanted 0 or more")
    if not isinstance(inner, BaseDataset) or isinstance(inner, TiledDataset):
        raise UsageError(
            f"TiledDataset takes a data set that reads images itself, such as CocoDataset, not "
            f"{type(inner).__name__}: put that around TiledDataset"
        )
    if inner.test_mode and keep_empty not in (None, 1):
        raise UsageError(
            f"keep_empty is {keep_empty} in a test, which needs every tile of an image: leave it "
            "out"
        )
