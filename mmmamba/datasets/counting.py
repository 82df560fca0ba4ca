"""How many images a config trains on, and which."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from ..errors import UsageError


def count_images(cfg: Config) -> int:
    """The length of the data set that a config trains on, wrapped as it is, without its images.

    Raises:
        UsageError: mmdet or mmseg cannot make a data set of what the config says.
    """
    return len(_training_set(cfg))


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
