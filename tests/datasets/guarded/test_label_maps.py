"""Label maps of every kind while training reads them.

A label of no class would end in a CUDA assert in the loss.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmmamba.datasets.guarded import DataError
from mmmamba.datasets.shapes import SEG_CLASSES

from .conftest import WORKERS, Data

SPOILED = 3
CLASSES = len(SEG_CLASSES)


def labels_of(data: Data) -> Path:
    return data.root / "labels" / "train" / data.image(SPOILED).name


def save(
    data: Data, value: int = 0, size=(64, 64), mode: str = "L", corner: int | None = None
) -> None:
    values = np.full(size[::-1], value, {"I;16": np.uint16}.get(mode, np.uint8))
    if corner is not None:
        values[-1, -1] = corner
    image = Image.fromarray(values)
    (image.convert(mode) if mode not in ("L", "I;16") else image).save(labels_of(data))


BAD = {
    "one pixel too large": (
        lambda d: save(d, corner=CLASSES),
        f"holds {CLASSES} .*in 1 pixels, wanted 0 … 3",
    ),
    "254": (lambda d: save(d, 254), "holds 254"),
    "16 bits that would wrap": (
        lambda d: save(d, 259, mode="I;16"),
        "mode I;16, up to 259.*read with 8 bits",
    ),
    "colours": (lambda d: save(d, mode="RGB"), "has 3 channels, wanted one number a pixel"),
    "colours and alpha": (lambda d: save(d, mode="RGBA"), "has 4 channels"),
    "another size": (lambda d: save(d, size=(64, 32)), "is 64 x 32, the image is 64 x 64"),
    "missing": (lambda d: labels_of(d).unlink(), "FileNotFoundError"),
    "pipe": (
        lambda d: (labels_of(d).unlink(), os.mkfifo(labels_of(d))),
        "it is a pipe, not a file",
    ),
    "empty": (lambda d: labels_of(d).write_bytes(b""), "LoadAnnotations: UnidentifiedImageError"),
    "cut off": (
        lambda d: labels_of(d).write_bytes(labels_of(d).read_bytes()[:60]),
        "LoadAnnotations: ",
    ),
}


@WORKERS
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_label_map_is_named(data: Data, kind: str, workers: int) -> None:
    BAD[kind][0](data)
    with pytest.raises(DataError, match=BAD[kind][1]) as caught:
        data.fetch(data.segmentation(), workers)
    assert str(data.image(SPOILED)) in str(caught.value) and str(labels_of(data)) in str(
        caught.value
    )


@pytest.mark.parametrize("kind", BAD)
def test_it_is_left_out_and_counted(data: Data, kind: str) -> None:
    BAD[kind][0](data)
    assert len(data.fetch(data.segmentation(), skip=True)) == 8
    entries = data.left_out()
    assert entries and all(str(data.image(SPOILED)) in entry for entry in entries)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: save(d, 255),
        lambda d: save(d, CLASSES - 1),
        lambda d: save(d, 3, mode="I;16"),
        lambda d: save(d, 1, mode="P"),
        lambda d: save(d, 1, mode="1"),
    ],
    ids=["ignored", "last class", "16 bits", "palette", "black and white"],
)
def test_odd_label_maps_that_are_right(data: Data, spoil) -> None:
    spoil(data)
    for sample in data.fetch(data.segmentation()):
        found = set(sample["data_samples"].gt_sem_seg.data.unique().tolist())
        assert found <= {*range(CLASSES), 255}


def test_without_the_zero_label(data: Data) -> None:
    """0 is ignored, and the first class is 1."""
    save(data, CLASSES, corner=0)
    data.fetch(data.segmentation(reduce_zero_label=True))
    save(data, CLASSES + 1)
    with pytest.raises(DataError, match=f"holds {CLASSES} .after reduce_zero_label"):
        data.fetch(data.segmentation(reduce_zero_label=True))


def test_a_folder_without_images(data: Data) -> None:
    """MMEngine's endless sampler would look for the first one for ever."""
    with pytest.raises(DataError, match="the data set is empty"):
        data.fetch(data.segmentation(img_suffix=".tiff"))


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    value=st.integers(0, 255),
    corner=st.integers(0, 255),
    zero=st.booleans(),
    ignore=st.sampled_from([255, 0, 100]),
)
def test_no_label_of_no_class_comes_through(
    data: Data, value: int, corner: int, zero: bool, ignore: int
) -> None:
    save(data, value, corner=corner)
    try:
        samples = data.fetch(
            data.segmentation(reduce_zero_label=zero, ignore_index=ignore, indices=[SPOILED])
        )
        found = set(samples[0]["data_samples"].gt_sem_seg.data.unique().tolist())
        assert found <= {*range(CLASSES), ignore}
    except DataError as error:
        assert str(labels_of(data)) in str(error)
        assert {value, corner} - {*range(CLASSES), ignore} or zero
