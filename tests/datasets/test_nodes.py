"""What wraps a data set and who reads it is told from its config alone."""

from __future__ import annotations

import pytest
from mmdet.datasets import CocoDataset, LVISV1Dataset
from mmengine.dataset import BaseDataset
from mmseg.datasets import ADE20KDataset

from mmmamba.datasets.nodes import (
    dataset_class,
    dataset_of_tests,
    loads_masks,
    plain_datasets,
    reads_coco,
    reads_label_maps,
    replace_plain,
)


class Renamed(CocoDataset):
    """Reads as its base does."""

    METAINFO = dict(classes=("cell",))


class Other(CocoDataset):
    """Reads entries in its own way."""

    def parse_data_info(self, raw_data_info: dict) -> dict:
        return raw_data_info


WRAPPED = dict(
    type="RepeatDataset",
    dataset=dict(type="ConcatDataset", datasets=[dict(type="A", n=1), dict(type="B", n=2)]),
)


def test_wrappers_are_looked_into() -> None:
    assert [node["type"] for node in plain_datasets(WRAPPED)] == ["A", "B"]
    assert list(plain_datasets(None)) == []
    assert dataset_of_tests(dict(test_dataloader=dict(dataset=WRAPPED)))["type"] == "A"
    assert dataset_of_tests(dict(test_dataloader=None)) == {}


def test_plain_ones_are_replaced_in_a_copy() -> None:
    changed = replace_plain(WRAPPED, lambda node: dict(node, n=node["n"] * 10))
    assert [node["n"] for node in plain_datasets(changed)] == [10, 20]
    assert [node["n"] for node in plain_datasets(WRAPPED)] == [1, 2]


@pytest.mark.parametrize(
    ("kind", "coco", "label_maps"),
    [
        (CocoDataset, True, False),
        (Renamed, True, False),
        (Other, False, False),
        (LVISV1Dataset, True, False),
        (ADE20KDataset, False, True),
        (BaseDataset, False, False),
        (int, False, False),
        (None, False, False),
    ],
)
def test_readers(kind: type | None, coco: bool, label_maps: bool) -> None:
    assert (reads_coco(kind), reads_label_maps(kind)) == (coco, label_maps)


def test_classes_by_name_and_by_themselves() -> None:
    assert dataset_class(dict(type="CocoDataset"), "mmdet") is CocoDataset
    assert dataset_class(dict(type=Renamed)) is Renamed
    assert dataset_class(dict(type="NoSuchDataset"), "mmdet") is None
    assert dataset_class({}) is None


def test_masks_anywhere_in_the_pipelines() -> None:
    load = dict(type="LoadAnnotations", with_mask=True)
    nested = dict(pipeline=[dict(type="RandomApply", transforms=[load])])
    assert loads_masks([nested]) and not loads_masks(dict(pipeline=[dict(load, with_mask=False)]))
