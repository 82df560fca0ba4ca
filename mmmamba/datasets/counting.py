"""How many images a config trains on, and which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from ..errors import UsageError
from ..structures.tiles import Tiling


def count_images(cfg: Config) -> int:
    """The length of the data set that a config trains on, wrapped as it is, without its images.

    Raises:
        UsageError: mmdet or mmseg cannot make a data set of what the config says.
    """
    return len(_training_set(cfg))


def count_tiles(file: Path, classes: Sequence[str], tiling: Tiling) -> int:
    """How many tiles a training has of the images of a COCO file, without the images.

    Raises:
        UsageError: mmdet cannot read the file.
    """
    plain = dict(
        type="CocoDataset",
        ann_file=str(file),
        data_prefix=dict(img=""),
        metainfo=dict(classes=tuple(classes)),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=[],
    )
    cut = dict(type="TiledDataset", size=tiling.size, overlap=tiling.overlap, dataset=plain)
    # For what it registers; not at the top, as mmdet takes seconds.
    from . import tiled  # noqa: F401

    content = dict(train_dataloader=dict(dataset=cut), default_scope="mmdet")
    return count_images(Config(content, filename=str(file)))


def training_images(cfg: Config, most: int) -> list[tuple[str, str | None]]:
    """Paths of images that a config trains on, from all over its data set, each with its second.

    The second is None where images are no pairs.

    Raises:
        UsageError: mmdet or mmseg cannot make a data set of what the config says.
    """
    dataset = _training_set(cfg)
    step = max(1, len(dataset) // most)
    places = range(0, len(dataset), step)[:most]
    entries = [dataset.get_data_info(place) for place in places]
    return [(str(entry["img_path"]), entry.get("second_path")) for entry in entries]


def _training_set(cfg: Config) -> Any:
    node = (cfg.get("train_dataloader") or {}).get("dataset")
    with DATASETS.switch_scope_and_registry(cfg.get("default_scope")) as registry:
        try:
            dataset = registry.build(_without_pipelines(node))
            # Annotations may be read only now.
            len(dataset)
            return dataset
        except (
            TypeError,
            ValueError,
            LookupError,
            AttributeError,
            AssertionError,
            OSError,
        ) as error:
            raise UsageError(
                f"the images of train_dataloader cannot be counted: {type(error).__name__}: "
                f"{error}. mmmamba check-data {cfg.filename} says what is wrong"
            ) from error


def _without_pipelines(node: Any) -> Any:
    if isinstance(node, dict):
        plain = {key: _without_pipelines(value) for key, value in node.items()}
        return {**plain, "pipeline": []} if "pipeline" in plain else plain
    if isinstance(node, (list, tuple)):
        return [_without_pipelines(one) for one in node]
    return node
