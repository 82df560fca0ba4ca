"""Each fault of an annotation file is found, named with its file and id, and found once."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from mmmamba.datasets.checks import KINDS, Report, check_coco
from mmmamba.datasets.checks.coco import read_coco
from mmmamba.datasets.checks.instances import rle_length
from mmmamba.datasets.shapes import CLASSES, ShapesSpec, make_shapes

from .rubbish import KEYS, VALUES

CLEAN = {
    "images": [
        dict(id=1, file_name="a.png", width=40, height=30),
        dict(id=2, file_name="b.png", width=40, height=30),
    ],
    "categories": [dict(id=3, name="cat"), dict(id=7, name="dog")],
    "annotations": [
        dict(
            id=11,
            image_id=1,
            category_id=3,
            bbox=[2, 3, 10, 12],
            area=120,
            iscrowd=0,
            segmentation=[[2, 3, 12, 3, 12, 15, 2, 15]],
        ),
        dict(
            id=12,
            image_id=2,
            category_id=7,
            bbox=[0, 0, 40, 30],
            area=1200,
            iscrowd=0,
            segmentation=dict(size=[30, 40], counts=[0, 1200]),
        ),
    ],
}
FAULTS = {
    "box-broken": dict(bbox=[1, 2, math.nan, 4]),
    "box-empty": dict(bbox=[5, 5, -3, 4]),
    "box-outside": dict(bbox=[45, 5, 3, 4]),
    "box-beyond": dict(bbox=[30, 5, 20, 4]),
    "annotation-record": dict(area=None),
    "annotation-orphan": dict(image_id=99),
    "category-unknown": dict(category_id=4),
    "mask-missing": dict(segmentation=[]),
    "polygon-broken": dict(segmentation=[[1, 2, 3, 4]]),
    "rle-broken": dict(segmentation=dict(size=[30, 40], counts=[0, 1100])),
    "rle-size": dict(segmentation=dict(size=[40, 30], counts=[0, 1200])),
    "annotation-id-twice": dict(id=12),
    "annotation-id-0": dict(id=0),
    "annotation-crowd": dict(iscrowd=1),
    "annotation-ignored": dict(ignore=1),
}


def check(content: dict, classes=("cat", "dog"), **options) -> Report:
    return check_coco(content, None, classes, file="train.json", **options)


def test_a_clean_file_has_no_findings() -> None:
    report = check(CLEAN, masks=True)
    assert not report.counts and report.clean and report.images == 2
    assert {name: (c.amount, c.images) for name, c in report.classes.items()} == {
        "cat": (1, 1),
        "dog": (1, 1),
    }


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_of_an_annotation_is_named_with_its_file_and_id(kind: str) -> None:
    content = copy.deepcopy(CLEAN)
    content["annotations"][0].update(FAULTS[kind])
    report = check(content, masks=True)
    assert report.counts[kind] == 1
    # What hides the only cat leaves an empty class and an empty image behind.
    assert set(report.counts) <= {kind, "class-empty", "image-empty"}
    (finding,) = report.examples[kind]
    wanted = content["annotations"][kind == "annotation-id-twice"]["id"]
    assert finding.file == "train.json" and finding.annotation == wanted
    assert report.clean == (KINDS[kind].severity == "note")


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda c: c["images"].append(c["images"][0]), "image-id-twice"),
        (lambda c: c["images"].append({**c["images"][0], "id": 5}), "image-name-twice"),
        (lambda c: c["images"].append({**c["images"][0], "file_name": "c.png"}), "image-id-shared"),
        (lambda c: c["images"][0].update(id="1"), "image-id-text"),
        (lambda c: c["annotations"][1].update(image_id="2"), "image-id-text"),
        (lambda c: c["images"][0].pop("width"), "image-record"),
        (lambda c: c["images"][0].update(id=[1]), "image-record"),
        (lambda c: c["images"][0].update(height=8), "image-small"),
        (lambda c: c["categories"].append(dict(id=9, name="cat")), "classes-twice"),
        (lambda c: c["categories"].append(dict(id=3, name="cow")), "category-id-twice"),
        (lambda c: c["categories"].append(dict(id=8, name="cow")), "classes-left"),
        (lambda c: c["categories"][0].pop("name"), "not-coco"),
        (lambda c: c.pop("images"), "not-coco"),
        (lambda c: c.update(annotations={"1": {}}), "not-coco"),
    ],
)
def test_faults_of_images_and_categories(change, kind: str) -> None:
    content = copy.deepcopy(CLEAN)
    change(content)
    assert check(content, min_size=10).counts[kind] == 1


def test_classes_of_the_config_against_the_file() -> None:
    report = check(CLEAN, ("cat", "dogs"))
    (finding,) = report.examples["classes-missing"]
    assert "'dogs'" in finding.detail and "Did you mean 'dog'" in finding.detail
    (finding,) = check(CLEAN, ("dog", "cat")).examples["classes-order"]
    assert "classes=('cat', 'dog',)" in finding.detail
    assert check(CLEAN, "cat").counts["classes-text"] == 1
    assert check(CLEAN, ("cat",)).counts["classes-left"] == 1


def test_a_file_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"images": [')
    report = Report("train", "a.json")
    assert read_coco(tmp_path / "a.json", report) is None and report.counts["not-coco"] == 1


def test_images_are_read(tmp_path: Path) -> None:
    content = copy.deepcopy(CLEAN)
    names = (
        "whole.jpg",
        "cut.jpg",
        "missing.jpg",
        "small.jpg",
        "turned.jpg",
        "text.jpg",
        "deep.png",
    )
    content["images"] = [
        dict(id=i, file_name=name, width=40, height=30) for i, name in enumerate(names, 1)
    ]
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8))
    for name in ("whole", "cut"):
        picture.save(tmp_path / f"{name}.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:900])
    picture.crop((0, 0, 20, 30)).save(tmp_path / "small.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    (tmp_path / "text.jpg").write_text("no image")
    Image.fromarray(np.zeros((30, 40), np.uint16)).save(tmp_path / "deep.png")
    report = check_coco(content, tmp_path)
    found = {}
    for kind, kept in report.examples.items():
        if kind != "image-empty":
            found[kind] = [finding.image for finding in kept]
    assert found == {
        "image-missing": [3],
        "image-unreadable": [2, 6],
        "image-size": [4],
        "image-turned": [5],
        "image-deep": [7],
    }
    assert "truncated" in report.examples["image-unreadable"][0].detail
    assert report.examples["image-size"][0].file == str(tmp_path / "small.jpg")
    assert check_coco(content, tmp_path, decode=False).counts["image-unreadable"] == 1


def test_the_drawn_data_set_is_clean_with_its_polygons_rle_and_crowds(tmp_path: Path) -> None:
    make_shapes(tmp_path / "shapes", ShapesSpec(num_train=24, num_val=2, size=64))
    content = json.loads((tmp_path / "shapes/annotations/instances_train.json").read_text())
    kinds = {
        type(a["segmentation"]).__name__ + type(a["segmentation"]["counts"]).__name__
        if isinstance(a["segmentation"], dict)
        else "polygon"
        for a in content["annotations"]
    }
    assert kinds == {"polygon", "dictstr", "dictlist"}
    report = check_coco(content, tmp_path / "shapes/train", CLASSES, masks=True)
    assert report.clean and set(report.counts) <= {"annotation-crowd", "image-empty"}


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 60), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_the_length_of_a_compressed_rle(seed: int, height: int, width: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    counts = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    assert rle_length(counts) == rle_length(counts.decode()) == height * width
    assert rle_length(counts[:-1]) != height * width


@given(
    st.dictionaries(
        st.sampled_from(["images", "annotations", "categories"]),
        st.lists(st.dictionaries(KEYS, VALUES, max_size=5), max_size=3) | VALUES,
        max_size=3,
    ),
    st.dictionaries(KEYS, VALUES, max_size=9),
)
@settings(max_examples=150, deadline=None)
def test_no_content_makes_the_checks_fail(content: dict, annotation: dict) -> None:
    check(content)
    check({**CLEAN, "annotations": [{**CLEAN["annotations"][0], **annotation}]}, masks=True)
    check({**CLEAN, "images": [{**CLEAN["images"][0], **annotation}]}, masks=True)
