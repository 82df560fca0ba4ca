"""Any config's data set, built as it is and then checked."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from mmengine.registry import DATASETS

from ...errors import UsageError
from ..nodes import dataset_class, loads_masks, reads_coco, replace_plain
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

    def checked(plain: dict) -> dict:
        # MMEngine calls a function as it does a class: wrappers build what they wrap through it.
        return dict(type=_build_leaf, dataset=plain, skip=skip)

    built = DATASETS.build(replace_plain(deepcopy(dataset), checked))
    if hasattr(built, "full_init"):
        built.full_init()
    check_pipelines(built, ledger, skip)
    return built


def check_pipelines(dataset: Any, ledger: Ledger, skip: bool) -> None:
    """Put checked pipelines in the place of all below a data set that are not checked yet."""
    for node in _nodes(dataset):
        pipeline = getattr(node, "pipeline", None)
        # MMEngine's and mmcv's `Compose` are two classes.
        if hasattr(pipeline, "transforms") and not isinstance(pipeline, CheckedPipeline):
            node.pipeline = CheckedPipeline(pipeline, node, ledger, skip)
        # mmdet's MultiImageMixDataset keeps a list, as it calls its transforms by itself.
        elif isinstance(pipeline, list):
            node.pipeline = [_checked(transform, node.max_refetch) for transform in pipeline]


def _checked(transform: Any, limit: int) -> CheckedTransform:
    if isinstance(transform, CheckedTransform):
        return transform
    return CheckedTransform(transform, limit)


def _nodes(dataset: Any) -> Iterator[Any]:
    """A data set and those that it wraps."""
    yield dataset
    # ConcatDataset has `datasets`, wrappers of one have `dataset`.
    inner = getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]
    for one in inner:
        if one is not None:
            yield from _nodes(one)


def _build_leaf(dataset: dict, skip: bool) -> Any:
    """Build a data set that wraps no other, in the place of its class in the config."""
    file = dataset.get("ann_file") or dataset.get("data_root")
    if reads_coco(dataset_class(dataset)):
        # Not read yet, so that its parsing can be watched; then read unless the config puts it off.
        built = DATASETS.build({**dataset, "lazy_init": True})
        if not dataset.get("lazy_init"):
            masks = loads_masks(dataset.get("pipeline"))
            # A score over fewer annotations than the file has would be another score.
            load_checked(built, masks, skip and not built.test_mode)
    else:
        built = _build_other(dataset, file)
    # Data sets that are no BaseDataset know no lazy start: they are loaded.
    if getattr(built, "_fully_initialized", True) and len(built) == 0:
        raise DataError(
            f"{file} gives no image: the data set is empty. What is wrong: mmmamba check-data"
        )
    return built


def _build_other(dataset: dict, file: Any) -> Any:
    """Build a data set whose annotations are read in ways that are not known here."""
    try:
        return DATASETS.build(dataset)
    except (*UNREADABLE, UsageError) as error:
        kind = "" if isinstance(error, UsageError) else f"{type(error).__name__}: "
        raise DataError(
            f"the {dataset.get('type')} of {file} cannot be built: {kind}{error}"
        ) from error
