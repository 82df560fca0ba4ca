"""The data sets of a config, made by mmdet and mmseg themselves but not loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from ...errors import UsageError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """One data set of a config, and what its evaluator reads."""

    name: str
    dataset: BaseDataset
    evaluators: tuple[dict, ...] = ()
    masks: bool = False
    """Masks are loaded or scored."""

    @property
    def classes(self) -> Any:
        return self.dataset.metainfo.get("classes")

    @property
    def is_coco(self) -> bool:
        """A COCO file that mmdet's own loader reads, by itself or in a class derived from it."""
        original = _ancestor(self.dataset, "mmdet.datasets.coco", "CocoDataset")
        return (
            original is not None and type(self.dataset).parse_data_info is original.parse_data_info
        )

    @property
    def is_segmentation(self) -> bool:
        return (
            _ancestor(self.dataset, "mmseg.datasets.basesegdataset", "BaseSegDataset") is not None
        )

    @property
    def image_root(self) -> str:
        return self.dataset.data_prefix["img"]

    @property
    def min_size(self) -> int:
        return 0 if self.dataset.test_mode else (self.dataset.filter_cfg or {}).get("min_size", 0)

    @property
    def leaves_out_empty(self) -> bool:
        return not self.dataset.test_mode and (self.dataset.filter_cfg or {}).get(
            "filter_empty_gt", False
        )


def config_splits(cfg: Config, names: tuple[str, ...] = SPLITS) -> list[Split]:
    """The data sets of these splits; a test split that equals the validation split is left out.

    Raises:
        UsageError: mmdet or mmseg cannot make a data set of what the config says.
    """
    found = []
    for name in names:
        node = (cfg.get(f"{name}_dataloader") or {}).get("dataset")
        if (
            name == "test"
            and "val" in names
            and node == (cfg.get("val_dataloader") or {}).get("dataset")
        ):
            continue
        evaluators = as_list(cfg.get(f"{name}_evaluator"))
        scored = any("segm" in as_list(evaluator.get("metric")) for evaluator in evaluators)
        for plain in plain_datasets(node):
            masks = _loads_masks(node) if name == "train" else scored
            found.append(
                Split(name, _build(plain, cfg.get("default_scope"), name), tuple(evaluators), masks)
            )
    return found


def plain_datasets(dataset: Any) -> Iterator[dict]:
    """Unwrap RepeatDataset, ConcatDataset and their like."""
    if not isinstance(dataset, dict):
        return
    if "dataset" in dataset:
        yield from plain_datasets(dataset["dataset"])
    elif "datasets" in dataset:
        for one in dataset["datasets"]:
            yield from plain_datasets(one)
    else:
        yield dataset


def as_list(value: Any) -> list:
    """Configs write one of a thing without a list."""
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]


def same_file(one: str | Path, other: str | Path) -> bool:
    return Path(one).resolve() == Path(other).resolve()


def _ancestor(dataset: BaseDataset, module: str, name: str) -> type | None:
    """A class that a data set is derived from, by name: importing mmdet for a segmentor's data takes seconds."""
    return next(
        (c for c in type(dataset).__mro__ if (c.__module__, c.__name__) == (module, name)), None
    )


def _build(node: dict, scope: str | None, name: str) -> BaseDataset:
    with DATASETS.switch_scope_and_registry(scope) as registry:
        try:
            return registry.build({**node, "pipeline": [], "lazy_init": True})
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise UsageError(
                f"the data set of {name}_dataloader cannot be made: {error}"
            ) from error


def _loads_masks(node: Any) -> bool:
    """A `LoadAnnotations(with_mask=True)` anywhere in the pipelines."""
    if isinstance(node, dict):
        return bool(node.get("with_mask")) or any(_loads_masks(value) for value in node.values())
    return isinstance(node, (list, tuple)) and any(_loads_masks(value) for value in node)
