"""Data sets as a config describes them, before one is built: what they wrap and who reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from inspect import isclass
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from ..config.signatures import class_name


def plain_datasets(dataset: Any) -> Iterator[dict]:
    """The data sets inside RepeatDataset, ConcatDataset and their like, or the data set itself."""
    if not isinstance(dataset, dict):
        return
    if "dataset" in dataset:
        yield from plain_datasets(dataset["dataset"])
    elif "datasets" in dataset:
        for one in dataset["datasets"]:
            yield from plain_datasets(one)
    else:
        yield dataset


def replace_plain(dataset: dict, change: Callable[[dict], dict]) -> dict:
    """A copy of a data set's config with every plain data set in it changed."""
    if "dataset" in dataset:
        return {**dataset, "dataset": replace_plain(dataset["dataset"], change)}
    if "datasets" in dataset:
        return {**dataset, "datasets": [replace_plain(one, change) for one in dataset["datasets"]]}
    return change(dataset)


def dataset_of_tests(cfg: Mapping[str, Any]) -> dict:
    """The first plain data set that a config tests on; empty if it has none."""
    loader = cfg.get("test_dataloader") or {}
    return next(plain_datasets(loader.get("dataset")), {})


def dataset_class(dataset: Mapping[str, Any], scope: str | None = None) -> type | None:
    """The class of a plain data set's config; None for what is none or not registered.

    Args:
        scope: the library whose data sets come first, by default the current one.
    """
    kind = dataset.get("type")
    if isinstance(kind, str):
        # Several libraries may register a name; a scope says whose is meant.
        with DATASETS.switch_scope_and_registry(scope) as registry:
            kind = registry.get(kind)
    return kind if isclass(kind) else None


def reads_coco(kind: type | None) -> bool:
    """Whether a class is mmdet's reader of COCO files, or derived from it and reads as it does."""
    # A class that reads entries in its own way may mean something else by them.
    original = _ancestor(kind, "mmdet.datasets.coco", "CocoDataset")
    return original is not None and kind.parse_data_info is original.parse_data_info


def reads_label_maps(kind: type | None) -> bool:
    """Whether a class is mmseg's reader of images and label maps, or is derived from it."""
    return _ancestor(kind, "mmseg.datasets.basesegdataset", "BaseSegDataset") is not None


def reads_classes(kind: type | None) -> bool:
    """Whether a class is mmpretrain's reader of folders of classes or lists of labelled images."""
    return _ancestor(kind, "mmpretrain.datasets.custom", "CustomDataset") is not None


def reads_saliency(kind: type | None) -> bool:
    """Whether a class is our reader of saliency maps, or is derived from it."""
    return _ancestor(kind, "mmmamba.datasets.saliency.dataset", "SaliencyDataset") is not None


def loads_masks(node: Any) -> bool:
    """Whether a `LoadAnnotations(with_mask=True)` stands anywhere in the pipelines below a node."""
    if isinstance(node, dict):
        return bool(node.get("with_mask")) or any(loads_masks(value) for value in node.values())
    return isinstance(node, (list, tuple)) and any(loads_masks(value) for value in node)


def loads_pairs(dataset: Any) -> bool:
    """Whether a data set's config reads pairs of images."""
    for plain in plain_datasets(dataset):
        for step in plain.get("pipeline") or ():
            if class_name(step["type"]) == "LoadPairedImage":
                return True
    return False


def _ancestor(kind: type | None, module: str, name: str) -> type | None:
    """A class that a data set is derived from, by name: importing mmdet to ask takes seconds."""
    if kind is None or not issubclass(kind, BaseDataset):
        return None
    for one in kind.__mro__:
        if (one.__module__, one.__name__) == (module, name):
            return one
    return None
