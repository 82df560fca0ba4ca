"""How many images a config trains on."""

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
    node = (cfg.get("train_dataloader") or {}).get("dataset")
    with DATASETS.switch_scope_and_registry(cfg.get("default_scope")) as registry:
        try:
            return len(registry.build(_without_pipelines(node)))
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
