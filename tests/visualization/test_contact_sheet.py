"""The contact sheet shows rare classes first, and draws faulty annotations without failing."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmmamba.datasets.checks.samples import coco_samples, segmentation_samples
from mmmamba.structures.classes import Classes
from mmmamba.structures.samples import Mark, Sample
from mmmamba.visualization.sheets.contact_sheet import draw_contact_sheet

from ..datasets.checks.rubbish import KEYS, VALUES

ANIMALS = Classes.from_meta(dict(classes=("cat", "dog")))


@pytest.fixture
def content(tmp_path: Path) -> dict:
    """Six images of cats, the last with a dog; the first has broken annotations."""
    images, annotations = [], []
    for number in range(6):
        Image.new("RGB", (60, 40), (200, 220, 240)).save(tmp_path / f"{number}.png")
        images.append(dict(id=number, file_name=f"{number}.png", width=60, height=40))
        annotations.append(
            dict(
                id=number + 1,
                image_id=number,
                category_id=1,
                bbox=[5, 5, 20, 20],
                area=400,
                segmentation=[[5, 5, 25, 5, 25, 25]],
            )
        )
    annotations += [
        dict(
            id=20,
            image_id=5,
            category_id=2,
            bbox=[30, 10, 20, 20],
            area=400,
            iscrowd=1,
            segmentation=dict(size=[40, 60], counts=[1200, 100, 1100]),
        ),
        dict(id=21, image_id=0, category_id=1, bbox=[1, math.nan, 3, 4], area=1),
        dict(id=22, image_id=0, category_id=1, bbox=[50, 5, 30, 4], area=1, segmentation=[[1, 2]]),
    ]
    return dict(
        images=images,
        annotations=annotations,
        categories=[dict(id=1, name="cat"), dict(id=2, name="dog")],
    )


def test_rare_classes_come_first_and_faults_are_marked(content: dict, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"no image")
    samples = coco_samples(content, tmp_path, ("cat", "dog"), 4)
    assert (
        samples[0].title == "5.png"
        and len(samples) == 4
        and "1.png" not in {s.title for s in samples}
    )
    broken = next(sample for sample in samples if sample.title == "0.png")
    assert [(mark.faulty, mark.box is None, mark.mask is None) for mark in broken.marks] == [
        (False, False, False),
        (True, True, True),
        (True, False, True),
    ]
    assert samples[0].marks[1].crowd and samples[0].marks[1].mask.sum() == 100
    file = draw_contact_sheet(samples, ANIMALS, tmp_path / "new" / "sheet.png", "train")
    red = np.asarray(Image.open(file).convert("RGB")).astype(int)
    assert ((red[..., 0] > 240) & (red[..., 1:] < 20).all(axis=-1)).sum() > 50


@pytest.mark.parametrize("side", [61, 3_000_000])
def test_masks_of_images_that_have_another_size_are_not_made(
    content: dict, tmp_path: Path, side: int
) -> None:
    """They would not fit, and may be larger than the memory."""
    content["images"][5].update(width=side, height=side)
    content["annotations"][6].update(segmentation=dict(size=[side, side], counts=[side * side]))
    samples = {
        sample.title: sample for sample in coco_samples(content, tmp_path, ("cat", "dog"), 6)
    }
    assert [mark.mask for mark in samples["5.png"].marks] == [None, None]
    sheet = draw_contact_sheet([*samples.values()], ANIMALS, tmp_path / "sheet.png", "train")
    assert sheet.is_file()


def test_label_maps_show_their_classes(tmp_path: Path) -> None:
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg")
    Image.fromarray(np.repeat(np.arange(4, dtype=np.uint8), 600).reshape(40, 60)).save(
        tmp_path / "a.png"
    )
    (sample,) = segmentation_samples(
        [(str(tmp_path / "a.jpg"), str(tmp_path / "a.png"))], 2, 5, reduce_zero_label=True
    )
    assert [sample.labels[row, 0] for row in (0, 10, 20, 30)] == [-1, 0, 1, -1]
    classes = Classes.from_meta(dict(classes=("road", "sky"), palette=[(9, 9, 200), (9, 200, 9)]))
    file = draw_contact_sheet([sample], classes, tmp_path / "sheet.png", "train")
    colours = np.asarray(Image.open(file).convert("RGB")).astype(int)
    assert ((colours[..., 2] > 100) & (colours[..., :2] < 20).all(axis=-1)).sum() > 10_000, "road"
    assert ((colours[..., 1] > 100) & (colours[..., ::2] < 20).all(axis=-1)).sum() > 10_000, "sky"


def test_boxes_of_any_size_are_drawn_and_seen_beyond_the_image(tmp_path: Path) -> None:
    black = np.zeros((40, 60, 3), np.uint8)
    beyond = [Mark(0, (-0.5, 10, 61, 20)), Mark(0, (-1e15, 5, 2e15, 4), faulty=True)]
    file = draw_contact_sheet([Sample("a.png", black, beyond)], ANIMALS, tmp_path / "a.png", "")
    sheet = np.asarray(Image.open(file).convert("RGB")).astype(int)
    colour = np.array(ANIMALS.colours[0])
    _rows, columns = (np.abs(sheet - colour).sum(axis=-1) < 30).nonzero()
    # The image begins 10 pixels after its cell, which begins 8 pixels after the sheet.
    assert columns.min() < 18 and columns.max() > 8 + 480 - 10


@given(st.dictionaries(KEYS, VALUES, max_size=6), st.dictionaries(KEYS, VALUES, max_size=4))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_content_makes_sampling_fail(
    content: dict, tmp_path: Path, annotation: dict, image: dict
) -> None:
    entries = dict(
        images=[{**content["images"][0], **image}, *content["images"][1:]],
        annotations=[{**content["annotations"][0], **annotation}, *content["annotations"][1:]],
    )
    assert coco_samples({**content, **entries}, tmp_path, ("cat", "dog"), 3)
