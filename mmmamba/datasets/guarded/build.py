"""Any config's data set, built as it is and then checked."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from inspect import isclass
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from ...errors import UsageError
from .annotations import UNREADABLE, load_checked
from .ledger import DataError, Ledger
from .pipeline import CheckedPipeline, CheckedTransform


def build_checked(dataset: dict, ledger: Ledger, skip: bool) -> Any:
    """The data set of a config, wrapped ones included.

    Args:
        ledger: where images are written down that are left out.
        skip: leave bad images and annotations out of training. Validation and test never do.

    Raises:
        DataError: annotations cannot be used, or no image is left.
    """
    built = DATASETS.build(_replaced(deepcopy(dataset), skip))
    if hasattr(built, "full_init"):
        built.full_init()
    check_pipelines(built, ledger, skip)
    return built


def check_pipelines(dataset: Any, ledger: Ledger, skip: bool) -> None:
    """Put checked pipelines in the place of all below a data set; those that are checked already stay."""
    for node in _nodes(dataset):
        pipeline = getattr(node, "pipeline", None)
        # MMEngine's and mmcv's `Compose` are two classes.
        if hasattr(pipeline, "transforms") and not isinstance(pipeline, CheckedPipeline):
            node.pipeline = CheckedPipeline(pipeline, node, ledger, skip)
        elif isinstance(pipeline, list):
            node.pipeline = [
                t if isinstance(t, CheckedTransform) else CheckedTransform(t, node.max_refetch)
                for t in pipeline
            ]


def _nodes(dataset: Any) -> Iterator[Any]:
    """A data set and those that it wraps."""
    yield dataset
    inner = getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]
    for one in inner:
        if one is not None:
            yield from _nodes(one)


def _replaced(node: Any, skip: bool) -> Any:
    """A data set's config, in which `_build_leaf` builds what wraps no other."""
    if "dataset" in node:
        return {**node, "dataset": _replaced(node["dataset"], skip)}
    if "datasets" in node:
        return {**node, "datasets": [_replaced(one, skip) for one in node["datasets"]]}
    return dict(type=_build_leaf, dataset=node, skip=skip)


def _build_leaf(dataset: dict, skip: bool) -> Any:
    file = dataset.get("ann_file") or dataset.get("data_root")
    if _is_coco(dataset.get("type")):
        built = DATASETS.build({**dataset, "lazy_init": True})
        masks = any(
            step.get("with_mask")
            for step in dataset.get("pipeline") or ()
            if isinstance(step, dict)
        )
        if not dataset.get("lazy_init"):
            load_checked(built, masks, skip and not built.test_mode)
    else:
        try:
            built = DATASETS.build(dataset)
        except (*UNREADABLE, UsageError) as error:
            kind = "" if isinstance(error, UsageError) else f"{type(error).__name__}: "
            raise DataError(
                f"the {dataset.get('type')} of {file} cannot be built: {kind}{error}"
            ) from error
    if getattr(built, "_fully_initialized", True) and len(built) == 0:
        raise DataError(
            f"{file} gives no image: the data set is empty. What is wrong: mmmamba check-data"
        )
    return built


def _is_coco(kind: Any) -> bool:
    """Whether a type is mmdet's reader of COCO files, or reads as it does."""
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    if not (isclass(kind) and issubclass(kind, BaseDataset)):
        return False
    original = next((c for c in kind.__mro__ if c.__module__ == "mmdet.datasets.coco"), None)
    return original is not None and kind.parse_data_info is original.parse_data_info
