"""A tile in the place of an image, from where a pipeline loads it to where it is packed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...errors import UsageError

KEY = "tile"
"""Under which a sample and its metainfo hold their `ImageTile`."""


class LoadTile:
    """An image loader of a pipeline, which leaves but the tile of what it loads.

    Args:
        loader: as `LoadImageFromFile`.
        kept: decoded images that are held for their next tiles. Each process that reads has its
            own.

    Raises:
        ValueError: the file has another size than its annotations say.
    """

    def __init__(self, loader: Any, kept: int) -> None:
        self.loader, self.kept = loader, kept
        self._images: OrderedDict[str, np.ndarray] = OrderedDict()

    def __call__(self, results: dict) -> dict | None:
        tile = results[KEY]
        loaded = results
        image = self._images.get(results["img_path"])
        if image is None:
            loaded = self.loader(results)
            # What cannot be read and is to be left out.
            if loaded is None:
                return None
            image = loaded["img"]
            self._keep(results["img_path"], image)
        else:
            self._images.move_to_end(results["img_path"])
        height, width = image.shape[:2]
        if (height, width) != (tile.image_height, tile.image_width):
            raise ValueError(
                f"the image is {width} x {height}, its annotations say {tile.image_width} x "
                f"{tile.image_height}"
            )
        # A copy: transforms may write into it, and the image is held.
        part = tile.of(image).copy()
        return {**loaded, "img": part, "img_shape": part.shape[:2], "ori_shape": part.shape[:2]}

    def _keep(self, path: str, image: np.ndarray) -> None:
        if self.kept:
            self._images[path] = image
            while len(self._images) > self.kept:
                self._images.popitem(last=False)

    def __getstate__(self) -> dict:
        # Workers that are started anew get no images.
        return {**self.__dict__, "_images": OrderedDict()}

    def __repr__(self) -> str:
        return f"LoadTile({self.loader!r}, kept={self.kept})"


def install(transforms: list, kept: int) -> None:
    """Let the transforms of a pipeline load tiles and pack where they lie. A second time is none.

    Raises:
        UsageError: nothing in it loads an image, or it loads label maps, which are not cut.
    """
    for node in _nodes(transforms):
        if getattr(node, "with_seg", False):
            raise UsageError(
                f"{type(node).__name__}(with_seg=True) loads a map of the whole image, and "
                "TiledDataset cuts boxes and masks: leave with_seg out"
            )
        if hasattr(node, "meta_keys") and KEY not in node.meta_keys:
            node.meta_keys = (*node.meta_keys, KEY)
    if not transforms or any(isinstance(node, LoadTile) for node in transforms):
        return
    for index, transform in enumerate(transforms):
        name = type(transform).__name__
        if "Load" in name and not name.endswith("Annotations"):
            transforms[index] = LoadTile(transform, kept)
            return
    raise UsageError(
        "the pipeline of a data set in TiledDataset has nothing that loads an image, as "
        "dict(type='LoadImageFromFile') does"
    )


def _nodes(transforms: Any) -> Iterator[Any]:
    """Transforms, and those inside of TestTimeAug and its like."""
    for transform in transforms:
        yield transform
        for name in ("transforms", "subroutines"):
            inner = getattr(transform, name, None)
            if isinstance(inner, (list, tuple)):
                yield from _nodes(inner)
