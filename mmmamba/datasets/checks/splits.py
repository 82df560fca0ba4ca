"""The data sets of a config, made by the libraries themselves but not loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from ...errors import UsageError
from ..nodes import (
    loads_masks,
    plain_datasets,
    reads_classes,
    reads_coco,
    reads_label_maps,
    reads_saliency,
)
from .channels import AS_COLOURS, Reading

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """One data set of a config, and what its evaluator reads."""

    name: str
    dataset: BaseDataset
    evaluators: tuple[dict, ...] = ()
    masks: bool = False
    """Masks are loaded or scored."""
    reading: Reading = AS_COLOURS

    @property
    def classes(self) -> Any:
        return self.dataset.metainfo.get("classes")

    @property
    def is_coco(self) -> bool:
        """A COCO file that mmdet's own loader reads, by itself or in a class derived from it."""
        return reads_coco(type(self.dataset))

    @property
    def is_segmentation(self) -> bool:
        return reads_label_maps(type(self.dataset))

    @property
    def is_classification(self) -> bool:
        """Images with one class each."""
        return reads_classes(type(self.dataset)) and self.dataset.with_label

    @property
    def is_saliency(self) -> bool:
        """Images with maps of where people looked."""
        return reads_saliency(type(self.dataset))

    @property
    def is_known(self) -> bool:
        """Whether there are checks for its annotations."""
        classes = self.is_coco or self.is_segmentation or self.is_classification
        return classes or self.is_saliency

    @property
    def image_root(self) -> str:
        return self.dataset.data_prefix["img"]

    @property
    def min_size(self) -> int:
        """The side under which images are left out, 0 where none is."""
        return self._filter.get("min_size", 0)

    @property
    def leaves_out_empty(self) -> bool:
        """Whether images without objects are left out."""
        return self._filter.get("filter_empty_gt", False)

    @property
    def _filter(self) -> dict:
        """What leaves out images; mmdet tests on all."""
        return {} if self.dataset.test_mode else (self.dataset.filter_cfg or {})


def config_splits(cfg: Config, names: tuple[str, ...] = SPLITS) -> list[Split]:
    """The data sets of these splits; a test split that equals the validation split is left out.

    Raises:
        UsageError: its library cannot make a data set of what the config says.
    """
    found = []
    for name in names:
        node = _dataset_of(cfg, name)
        # Most configs test on what they validate on: once is enough.
        if name == "test" and "val" in names and node == _dataset_of(cfg, "val"):
            continue
        evaluators = tuple(as_list(cfg.get(f"{name}_evaluator")))
        # Tests may load masks that nothing scores: there the metric decides.
        scored = any("segm" in as_list(evaluator.get("metric")) for evaluator in evaluators)
        masks = loads_masks(node) if name == "train" else scored
        for plain in plain_datasets(node):
            dataset = _build(plain, cfg.get("default_scope"), name)
            reading = Reading.of_config(plain, cfg.get("model"))
            found.append(Split(name, dataset, evaluators, masks, reading))
    return found


def _dataset_of(cfg: Config, name: str) -> Any:
    return (cfg.get(f"{name}_dataloader") or {}).get("dataset")


def as_list(value: Any) -> list:
    """Configs write one of a thing without a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def same_file(one: str | Path, other: str | Path) -> bool:
    return Path(one).resolve() == Path(other).resolve()


def _build(node: dict, scope: str | None, name: str) -> BaseDataset:
    with DATASETS.switch_scope_and_registry(scope) as registry:
        try:
            # Without a pipeline and unread: only what the config says is wanted.
            return registry.build({**node, "pipeline": [], "lazy_init": True})
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise UsageError(
                f"the data set of {name}_dataloader cannot be made: {error}"
            ) from error
