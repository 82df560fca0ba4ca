"""Images of every kind while training reads them: used, refused by name, or left out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.dataset import ConcatDataset
from PIL import Image

from mmmamba.datasets.guarded import DataError
from mmmamba.datasets.guarded.samples import cut_off

from .conftest import WORKERS, Data

SPOILED = 3


def resave(path: Path, **options) -> None:
    Image.open(path).convert("RGB").save(path, **options)


def as_jpeg(data: Data, **options) -> Path:
    """The spoiled image as a JPEG under its name, whatever that says: decoders look inside."""
    path = data.image(SPOILED)
    Image.open(path).convert("RGB").save(path, format="JPEG", quality=95, **options)
    return path


def keep(path: Path, part: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])


def turned(data: Data) -> None:
    """A picture of 64 x 48 whose camera says that it stood upright."""
    path = data.image(SPOILED)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).convert("RGB").crop((0, 0, 64, 48)).save(path, format="JPEG", exif=exif)
    data.rewrite(lambda content: content["images"][SPOILED].update(height=48))
    data.without_objects(SPOILED)


def drop_bytes(data: Data) -> None:
    keep(as_jpeg(data), 0.6)


def in_png(data: Data) -> None:
    path = data.image(SPOILED)
    resave(path, format="PNG")
    keep(path, 0.6)


def pipe(path: Path) -> None:
    """Whoever opens it waits for a writer."""
    path.unlink()
    os.mkfifo(path)


def size_of(width: int, height: int):
    def change(data: Data) -> None:
        Image.new("RGB", (width, height), "red").save(data.image(SPOILED), format="PNG")

    return change


BAD = {
    "missing": (lambda d: d.image(SPOILED).unlink(), "FileNotFoundError"),
    "empty": (lambda d: d.image(SPOILED).write_bytes(b""), "LoadImageFromFile"),
    "text": (lambda d: d.image(SPOILED).write_text("<html>404</html>"), "LoadImageFromFile"),
    "folder": (lambda d: (d.image(SPOILED).unlink(), d.image(SPOILED).mkdir()), "it is a folder"),
    "pipe": (lambda d: pipe(d.image(SPOILED)), "it is a pipe, not a file"),
    "device": (
        lambda d: (d.image(SPOILED).unlink(), d.image(SPOILED).symlink_to("/dev/zero")),
        "it is a device",
    ),
    "no rights": (
        lambda d: (d.image(SPOILED).unlink(), d.image(SPOILED).symlink_to("/nowhere")),
        "FileNotFoundError",
    ),
    "JPEG cut off": (drop_bytes, "truncated|LoadImageFromFile"),
    "JPEG cut off in its header": (lambda d: keep(as_jpeg(d), 0.1), "LoadImageFromFile|truncated"),
    "PNG cut off": (in_png, "truncated|LoadImageFromFile"),
    "another size": (size_of(32, 64), "is 32 x 64, its annotations say 64 x 64"),
    "1 x 1": (size_of(1, 1), "is 1 x 1, its annotations say 64 x 64"),
    "turned by EXIF": (turned, r"48 x 64 \(its EXIF orientation turns it, as training sees it\)"),
}


@WORKERS
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_is_named(data: Data, kind: str, workers: int) -> None:
    spoil, message = BAD[kind]
    spoil(data)
    with pytest.raises(DataError, match=message) as caught:
        data.fetch(data.detection(), workers)
    image = data.content["images"][SPOILED]
    assert image["file_name"] in str(caught.value) and f"image {image['id']}" in str(caught.value)
    assert "Traceback" not in str(caught.value) and "--skip-bad-data" in str(caught.value)


@WORKERS
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_is_left_out_and_counted(data: Data, kind: str, workers: int) -> None:
    BAD[kind][0](data)
    samples = data.fetch(data.detection(), workers, skip=True)
    bad = data.image(SPOILED)
    assert len(samples) == 8 and str(bad) not in {s["data_samples"].img_path for s in samples}
    entries = data.left_out()
    assert len(entries) >= 1 and all(
        bad.name in entry and entry.startswith("bad ") for entry in entries
    )


def upright(data: Data) -> None:
    """Pixels stored upright, the orientation says so."""
    as_jpeg(data, exif=(exif := Image.Exif(), exif.__setitem__(0x0112, 1))[0])


def sixteen_bits(data: Data) -> None:
    path = data.image(SPOILED)
    cv2.imwrite(str(path.with_suffix(".png")), np.full((64, 64), 40_000, np.uint16))
    if path.suffix != ".png":
        shutil.move(path.with_suffix(".png"), path)


def long_tail(data: Data) -> None:
    """Bytes behind the end of the picture, as some cameras write them."""
    path = as_jpeg(data)
    path.write_bytes(path.read_bytes() + bytes(range(256)) * 8)


GOOD = {
    "grey": lambda d: (
        Image.open(d.image(SPOILED)).convert("L").save(d.image(SPOILED), format="PNG")
    ),
    "grey with alpha": lambda d: (
        Image.open(d.image(SPOILED)).convert("LA").save(d.image(SPOILED), format="PNG")
    ),
    "RGBA": lambda d: (
        Image.open(d.image(SPOILED)).convert("RGBA").save(d.image(SPOILED), format="PNG")
    ),
    "palette": lambda d: (
        Image.open(d.image(SPOILED)).convert("P").save(d.image(SPOILED), format="PNG")
    ),
    "black and white": lambda d: (
        Image.open(d.image(SPOILED)).convert("1").save(d.image(SPOILED), format="PNG")
    ),
    "CMYK": lambda d: (
        Image.open(d.image(SPOILED)).convert("CMYK").save(d.image(SPOILED), format="JPEG")
    ),
    "progressive": lambda d: as_jpeg(d, progressive=True),
    "16 bits": sixteen_bits,
    "upright by EXIF": upright,
    "bytes behind the end": long_tail,
    "zeros behind the end": lambda d: as_jpeg(d).write_bytes(
        d.image(SPOILED).read_bytes() + bytes(500)
    ),
}


@pytest.mark.parametrize("kind", GOOD)
def test_odd_images_are_read_as_three_channels_of_eight_bits(data: Data, kind: str) -> None:
    GOOD[kind](data)
    samples = data.fetch(data.detection())
    inputs = next(
        s["inputs"] for s in samples if s["data_samples"].img_path == str(data.image(SPOILED))
    )
    assert inputs.shape == (3, 64, 64) and inputs.max() <= 255
    if kind == "16 bits":
        assert inputs.unique().tolist() == [40_000 >> 8]
    assert data.left_out() == []


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (1, 20_000), (20_000, 1), (2, 20_000), (4_000, 4_000)]
)
def test_images_of_every_shape(data: Data, width: int, height: int) -> None:
    """Used where the pipeline can; where it makes nothing of them, that is said."""
    size_of(width, height)(data)
    data.rewrite(lambda content: content["images"][SPOILED].update(width=width, height=height))
    data.without_objects(SPOILED)
    try:
        samples = data.fetch(data.detection())
        assert all(min(s["inputs"].shape) >= 1 for s in samples) and len(samples) == 8
    except DataError as error:
        assert data.image(SPOILED).name in str(error) and "Resize" in str(error)


@WORKERS
def test_when_all_images_are_bad_it_stops(data: Data, workers: int) -> None:
    """MMEngine tries a thousand images for each sample, and then names none."""
    for path in (data.root / "train").iterdir():
        path.write_bytes(b"not an image")
    with pytest.raises(
        DataError, match="101 images in a row could not be used, the last of them:\n.*train_000"
    ):
        data.fetch(data.detection(), workers, skip=True)


def test_a_pipeline_that_leaves_nothing_is_counted_and_named(data: Data) -> None:
    number = data.content["images"][SPOILED]["id"]
    data.rewrite(
        lambda c: [a.update(bbox=[1, 1, 3, 3]) for a in c["annotations"] if a["image_id"] == number]
    )
    cfg = data.detection()
    cfg["pipeline"].insert(2, dict(type="FilterAnnotations", min_gt_bbox_wh=(4, 4), by_mask=False))
    data.fetch(cfg)
    entries = data.left_out()
    assert entries and all(
        e.startswith(f"empty {data.image(SPOILED)}") and "FilterAnnotations" in e for e in entries
    )
    cfg["pipeline"][2]["min_gt_bbox_wh"] = (1000, 1000)
    with pytest.raises(DataError, match="images in a row.*(?s:.*)FilterAnnotations"):
        data.fetch(cfg)


def test_a_data_set_that_gives_up_early_is_named_too(data: Data) -> None:
    data.image(0).unlink()
    with pytest.raises(DataError, match="in a row"):
        data.fetch(data.detection(max_refetch=0), skip=True)


def test_validation_is_never_skipped(data: Data) -> None:
    data.image(SPOILED).unlink()
    with pytest.raises(DataError, match=data.image(SPOILED).name) as caught:
        data.fetch(data.detection(test_mode=True), skip=True)
    assert "--skip-bad-data" not in str(caught.value)


def test_wrapped_data_sets_are_checked(data: Data) -> None:
    data.image(SPOILED).unlink()
    inner = data.detection()
    for cfg in (
        dict(type="RepeatDataset", times=2, dataset=inner),
        dict(type="ConcatDataset", datasets=[inner, inner]),
        dict(type="RepeatDataset", times=1, dataset=dict(type="ConcatDataset", datasets=[inner])),
    ):
        with pytest.raises(DataError, match=data.image(SPOILED).name):
            data.fetch(cfg)
    assert ConcatDataset.__name__ == "ConcatDataset"


def test_mosaics_are_named(data: Data) -> None:
    inner = data.detection(masks=False)
    inner["pipeline"] = inner["pipeline"][:2]
    cfg = dict(
        type="MultiImageMixDataset",
        _scope_="mmdet",
        dataset=inner,
        pipeline=[dict(type="Mosaic", img_scale=(64, 64)), dict(type="PackDetInputs")],
    )
    assert len(data.fetch(cfg)) == 8
    cfg["pipeline"].insert(1, dict(type="MixUp", img_scale=(64, 64), ratio_range=("a", "b")))
    with pytest.raises(DataError, match=r"train_000.*MixUp: \w+Error.*mixed with .*train_000"):
        data.fetch(cfg)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(choice=st.data())
def test_damaged_bytes_of_an_image(data: Data, choice: st.DataObject) -> None:
    """Read, or refused by name: nothing else, whatever the bytes."""
    kind = choice.draw(st.sampled_from(["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP"]))
    path = data.image(SPOILED)
    Image.new("RGB", (64, 64), "red").save(path, format=kind)
    content = bytearray(path.read_bytes())
    for _ in range(choice.draw(st.integers(1, 3))):
        at = choice.draw(st.integers(0, len(content) - 1))
        content[at : at + choice.draw(st.integers(0, 40))] = choice.draw(st.binary(max_size=8))
        if not content:
            break
    path.write_bytes(content)
    cfg = data.detection()
    cfg["indices"] = [SPOILED]
    try:
        assert len(data.fetch(cfg)) == 1
    except DataError as error:
        assert path.name in str(error)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(part=st.floats(0.02, 0.97), progressive=st.booleans(), kind=st.sampled_from(["JPEG", "PNG"]))
def test_a_file_that_is_cut_off_anywhere_is_noticed(
    tmp_path: Path, part: float, progressive: bool, kind: str
) -> None:
    path = tmp_path / "image"
    noise = np.random.default_rng(0).integers(0, 255, (48, 48, 3), np.uint8)
    Image.fromarray(noise).save(
        path, format=kind, **({"progressive": progressive} if kind == "JPEG" else {})
    )
    assert not cut_off(str(path))
    keep(path, part)
    assert cut_off(str(path))
