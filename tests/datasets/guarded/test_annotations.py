"""COCO annotations of every kind while training reads them.

They are used, refused with their id, or left out and counted.
"""

from __future__ import annotations

import json
import logging
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.logging import MMLogger
from pycocotools import mask as coco_mask

from mmmamba.datasets.guarded import DataError

from .conftest import Data

NAN, INF = math.nan, math.inf
QUICK = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def log() -> list[str]:
    """The lines of the log."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def first(content: dict) -> dict:
    return next(a for a in content["annotations"] if not a["iscrowd"])


def change(data: Data, **values: object) -> int:
    """Change the first annotation; its id."""
    number = first(data.content)["id"]
    data.rewrite(lambda content: first(content).update(values))
    return number


def rle(height: int = 64, width: int = 64, **more: object) -> dict:
    encoded = coco_mask.encode(np.asfortranarray(np.eye(height, width, dtype=np.uint8)))
    return dict(size=encoded["size"], counts=encoded["counts"].decode()) | more


REFUSED = {
    "NaN": dict(bbox=[NAN, 1, 9, 9]),
    "infinite": dict(bbox=[1, 1, INF, 9]),
    "too large for a float": dict(bbox=[1, 1, 1e300, 9]),
    "three numbers": dict(bbox=[1, 2, 3]),
    "text": dict(bbox=["1", "2", "3", "4"]),
    "null": dict(bbox=None),
    "nested": dict(bbox=[[1, 2], [3, 4]]),
    "area of NaN": dict(area=NAN),
    "area of text": dict(area="9"),
    "polygon of two points": dict(segmentation=[[1, 1, 9, 9]]),
    "polygon of an odd number": dict(segmentation=[[1, 1, 9, 9, 1, 9, 3]]),
    "polygon with NaN": dict(segmentation=[[1, 1, 9, NAN, 1, 9]]),
    "polygon of text": dict(segmentation=[["a"] * 6]),
    "polygon of points": dict(segmentation=[[[1, 1], [9, 9], [1, 9]] * 2]),
    "flat polygon": dict(segmentation=[1, 1, 9, 9, 1, 9]),
    "polygon far away": dict(segmentation=[[1e9, 1, 1e9, 9, 1e9 + 9, 9]]),
    "polygon too large": dict(segmentation=[[1, 1, 1e8, 1, 1, 1e8]]),
    "polygon too long": dict(segmentation=[[1, 1, 64, 64] * 70_000]),
    "no mask": dict(segmentation=[]),
    "mask of null": dict(segmentation=None),
    "mask of text": dict(segmentation="everything"),
    "RLE of another image": dict(segmentation=rle(32, 32)),
    "RLE that ends early": dict(segmentation=rle(counts="04")),
    "RLE without an end": dict(segmentation=rle(counts="ooooooooooooooo")),
    "RLE far too long": dict(segmentation=rle(counts="0" + "o" * 7 + "1")),
    "RLE of numbers that are longer than 32 bits": dict(
        segmentation=rle(counts="0" + "P" * 6 + "\x60" * 6 + "4")
    ),
    "RLE with signs of no RLE": dict(segmentation=rle(counts="\x01\x02é")),
    "runs that are too many": dict(segmentation=dict(size=[64, 64], counts=[0, 99_999])),
    "negative runs": dict(segmentation=dict(size=[64, 64], counts=[-1, 4097])),
    "runs of text": dict(segmentation=dict(size=[64, 64], counts=["4096"])),
    "RLE without counts": dict(segmentation=dict(size=[64, 64])),
    "RLE without a size": dict(segmentation=dict(counts="04")),
    "RLE of a negative size": dict(segmentation=rle(size=[-64, -64])),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_training_cannot_use_is_refused_with_its_id(data: Data, kind: str) -> None:
    number = change(data, **REFUSED[kind])
    with pytest.raises(DataError, match=f"annotation {number}\\b") as caught:
        data.fetch(data.detection())
    assert str(data.file) in str(caught.value) and "--skip-bad-data" in str(caught.value)


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_left_out_and_counted(data: Data, kind: str, log: list[str]) -> None:
    number = change(data, **REFUSED[kind])
    objects = sum(
        len(s["data_samples"].gt_instances) for s in data.fetch(data.detection(), skip=True)
    )
    ignored = sum(a["iscrowd"] for a in data.content["annotations"])
    assert objects == len(data.content["annotations"]) - ignored - 1
    assert [
        line
        for line in log
        if f"annotation {number}" in line and "1: " in line and str(data.file) in line
    ]


@pytest.mark.parametrize("key", ["bbox", "area", "category_id", "segmentation", "image_id", "id"])
def test_a_key_that_is_not_there(data: Data, key: str, log: list[str]) -> None:
    data.rewrite(lambda content: first(content).pop(key))
    try:
        data.fetch(data.detection())
        assert key == "category_id" and any("unknown category" in line for line in log)
    except DataError as error:
        assert str(data.file) in str(error) and key in str(error).replace("mask", "segmentation")


COUNTED = {
    "negative sides": (dict(bbox=[9, 9, -3, -3]), "box or area of nothing"),
    "no width": (dict(bbox=[9, 9, 0, 5]), "box or area of nothing"),
    "below a pixel": (dict(bbox=[9, 9, 0.5, 5]), "box or area of nothing"),
    "no area": (dict(area=0), "box or area of nothing"),
    "outside": (dict(bbox=[500, 500, 9, 9]), "lies outside"),
    "outside, negative": (dict(bbox=[-50, -50, 9, 9]), "lies outside"),
    "unknown category": (dict(category_id=77), "unknown category"),
    "category of text": (dict(category_id="cat"), "unknown category"),
}


@pytest.mark.parametrize("kind", COUNTED)
def test_what_mmdet_drops_in_silence_is_told(data: Data, kind: str, log: list[str]) -> None:
    values, told = COUNTED[kind]
    number = change(data, **values)
    objects = sum(len(s["data_samples"].gt_instances) for s in data.fetch(data.detection()))
    assert objects == sum(not a["iscrowd"] for a in data.content["annotations"]) - 1
    assert [line for line in log if told in line and f"annotation {number}" in line]


@pytest.mark.parametrize(
    "box", [[-5, -5, 40, 40], [0, 0, 1e7, 1e7], [-1e6, -1e6, 2e6, 2e6], [30, 30, 36, 36]]
)
def test_boxes_that_reach_beyond_the_image_are_told_and_clipped(
    data: Data, box: list, log: list[str]
) -> None:
    number = change(data, bbox=box)
    for sample in data.fetch(data.detection()):
        boxes = sample["data_samples"].gt_instances.bboxes.tensor
        assert not len(boxes) or (boxes.min() >= 0 and boxes.max() <= 64)
    assert [line for line in log if "reaches beyond" in line and f"annotation {number}" in line]


def test_masks_are_looked_at_only_where_they_are_used(data: Data) -> None:
    change(data, segmentation=[])
    assert len(data.fetch(data.detection(masks=False))) == 8


def test_a_clean_file_says_nothing(data: Data, log: list[str]) -> None:
    data.fetch(data.detection())
    assert not [line for line in log if "annotations" in line]


@pytest.mark.parametrize(
    "values", [dict(width=0), dict(width=None), dict(height=-3), dict(height=NAN), dict(width="64")]
)
def test_an_image_without_a_size(data: Data, values: dict) -> None:
    data.rewrite(lambda content: content["images"][2].update(values))
    image = data.content["images"][2]
    for skip in (False, True):
        with pytest.raises(DataError, match=f"image {image['id']}: {image['file_name']} has width"):
            data.fetch(data.detection(), skip=skip)


FILES = {
    "no JSON": "{",
    "nothing": "",
    "a list": "[]",
    "no lists": "{}",
    "no images": '{"images": [], "annotations": [], "categories": []}',
    "images of null": '{"images": null, "annotations": [], "categories": []}',
    "images of text": '{"images": ["a"], "annotations": [], '
    '"categories": [{"id": 1, "name": "circle"}]}',
    "bytes": "\x00\x01",
    "lists in lists": "[" * 100_000,
}


@pytest.mark.parametrize("kind", FILES)
def test_files_that_are_no_annotations(data: Data, kind: str) -> None:
    data.file.write_text(FILES[kind])
    with pytest.raises(DataError, match=str(data.file)):
        data.fetch(data.detection())


def test_ids_that_stand_twice(data: Data) -> None:
    data.rewrite(lambda content: content["annotations"].append(first(content)))
    with pytest.raises(DataError, match=f"annotation {first(data.content)['id']}"):
        data.fetch(data.detection())


ODD = [NAN, INF, -INF, 1e300, -1e18, 2**60, 0, -0.0, None, "1", True]
NUMBERS = st.one_of(
    st.integers(-100, 100), st.floats(-100, 100), st.sampled_from(ODD), st.floats(-1e12, 1e12)
)
KEYS = [
    "id",
    "image_id",
    "category_id",
    "file_name",
    "width",
    "height",
    "name",
    "bbox",
    "segmentation",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
POLYGONS = st.lists(st.lists(NUMBERS, max_size=9), max_size=3)
RLES = st.fixed_dictionaries(
    {},
    optional=dict(
        size=st.lists(NUMBERS, max_size=3) | st.just([64, 64]),
        counts=st.text(max_size=12) | st.lists(st.integers(-5, 5000), max_size=6) | JSON,
    ),
)
ANNOTATION = st.fixed_dictionaries(
    {},
    optional=dict(
        bbox=st.lists(NUMBERS, min_size=4, max_size=4) | JSON,
        area=NUMBERS | JSON,
        segmentation=POLYGONS | RLES | JSON,
        category_id=st.sampled_from([1, 4, 9, 5, None, "1", 1.0, [1], {}]) | st.integers(),
        iscrowd=st.sampled_from([0, 1, None]),
        ignore=st.booleans(),
    ),
)


@QUICK
@given(values=ANNOTATION, masks=st.booleans(), skip=st.booleans())
def test_any_annotation_is_used_or_named(data: Data, values: dict, masks: bool, skip: bool) -> None:
    """No other error, and never a box with NaN; with `skip`, no error at all."""
    original = data.file.read_text()
    number = change(data, **values)
    cfg = data.detection(masks)
    cfg["pipeline"].pop(2)
    try:
        for sample in data.fetch(cfg, skip=skip):
            boxes = sample["data_samples"].gt_instances.bboxes.tensor
            assert boxes.isfinite().all()
    except DataError as error:
        # What is no id ends pycocotools' reading of the file, before anything can be skipped.
        assert "entry 0 of annotations" in str(error) or (
            f"annotation {number}" in str(error) and not skip
        )
    finally:
        data.file.write_text(original)


@QUICK
@given(
    place=st.sampled_from(["images", "annotations", "categories"]),
    key=st.sampled_from(KEYS),
    value=JSON | NUMBERS,
)
def test_any_value_anywhere_in_the_file_is_used_or_named(
    data: Data, place: str, key: str, value: object
) -> None:
    original = data.file.read_text()
    data.rewrite(lambda content: content[place][0].update({key: value}))
    try:
        data.fetch(data.detection())
    except DataError as error:
        assert str(data.file) in str(error) or str(data.root) in str(error)
    finally:
        data.file.write_text(original)
    assert json.loads(data.file.read_text())
