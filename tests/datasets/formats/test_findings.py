"""Everything that is wrong with label files is told, each with its file; nothing is half read."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmmamba.datasets.checks.kinds import KINDS
from mmmamba.datasets.discovery import find_objects
from mmmamba.datasets.formats import convert, find_source
from mmmamba.errors import UsageError

from .test_layouts import BOX, describe, put_labelme, put_voc, put_yolo


def told(root: Path) -> dict[str, list[str]]:
    """What was found of each file by its name, as kind and detail."""
    found: dict[str, list[str]] = {}
    for finding in convert(find_source(root)).findings:
        assert finding.kind in KINDS
        found.setdefault(Path(finding.file).name, []).append(f"{finding.kind} {finding.detail}")
    return found


def images_of(root: Path) -> set[str]:
    """Names of the images that are left, without suffix."""
    converted = convert(find_source(root))
    files = []
    for content in converted.contents.values():
        files += [Path(image["file_name"]).stem for image in content["images"]]
    return set(files)


YOLO = {
    "a": ("0 0.5 0.5 0.1\n", "label-unparsed line 1 has 4 numbers"),
    "b": ("0 0.5 0.5 0.1 0.1\ndog 0.5 0.5 0.1 0.1\n", "label-unparsed line 2 is no row of numbers"),
    "c": ("2 0.5 0.5 0.1 0.1\n", "label-class line 1 has class 2, the classes are 0 … 1"),
    "d": ("0 200 100 50 50\n", "label-outside line 1 has 200, wanted shares.*pixels"),
    "e": ("0 nan 0.5 0.1 0.1\n", "label-unparsed line 1 holds a number that is not finite"),
    "f": ("0 0.5 0.5 0 0.1\n", "box-empty line 1: 20, 9, 20, 11"),
    "g": ("0 0.9 0.5 0.4 0.1\n", "box-clipped line 1: 28, 9, 44, 11"),
    "h": ("1 0.5 0.5 0.1 0.1\n1 0.5 0.5 0.1 0.1\n", "object-twice line 2 is line 1"),
    "i": ("0.5 0.5 0.5 0.1 0.1\n", "label-class line 1 has class 0.5"),
    "j": ("0 0.1 0.1 0.5 0.5 0.9 0.9\n", "box-empty line 1: its outline has no area"),
}


def test_yolo(tmp_path: Path) -> None:
    put_yolo(tmp_path, "images/train", "labels/train", "abcdefghijxyz")
    put_yolo(tmp_path, "images/val", "labels/val", "v")
    describe(tmp_path, train="images/train", val="images/val")
    labels, images = tmp_path / "labels/train", tmp_path / "images/train"
    for stem, (text, _) in YOLO.items():
        (labels / f"{stem}.txt").write_text(text)
    (labels / "k.txt").write_text("")
    (labels / "x.txt").write_bytes(b"\xff\xfe\x00")
    (labels / "y.txt").unlink()
    (images / "z.jpg").write_bytes(b"no picture")
    found = told(tmp_path)
    for stem, (_, wanted) in YOLO.items():
        (line,) = found.pop(f"{stem}.txt")
        assert re.search(wanted, line), line
    assert found["k.txt"] == ["label-orphan "] and "UnicodeDecodeError" in found["x.txt"][0]
    assert found["y.jpg"][0].startswith("image-unlabelled no label file")
    assert found["z.jpg"][0].startswith("image-skipped cannot identify") and len(found) == 4
    # What cannot be read whole is left out; what lacks an object is not.
    assert images_of(tmp_path) == set("fghjyv")
    data = find_objects(tmp_path, tmp_path / "out")
    assert "left out: 8 of 13 images of train" in data.said
    written = (tmp_path / "out/findings.txt").read_text()
    assert len(written.splitlines()) == 14 and "c.txt: line 1 has class 2" in written
    content = json.loads(data.train.annotations.read_text())
    assert len(content["info"]["findings"]) == 14
    boxes = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        boxes[annotation["image_id"]].append(annotation["bbox"])
    names = {image["file_name"]: image["id"] for image in content["images"]}
    assert boxes[names["g.jpg"]] == [[28, 9, 12, 2]] and boxes[names["y.jpg"]] == []


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    put_yolo(tmp_path, "images", "labels", "ab")
    file = describe(tmp_path, train="images", val="images", names=["one"])
    with pytest.raises(UsageError, match="no image.*can be used .label-class × 2.*a.txt: line 1"):
        find_objects(file, tmp_path / "out")
    for path in (tmp_path / "labels").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="no image of .* has a label file: wanted a.txt"):
        find_objects(file, tmp_path / "out")


def test_key_points_are_left_out(tmp_path: Path) -> None:
    put_yolo(tmp_path, "images", "labels", "ab")
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 0.5 0.5 0.1 0.1 2 0.2 0.2 2\n")
    describe(tmp_path, train="images", val="images", kpt_shape=[2, 3])
    data = find_objects(tmp_path, tmp_path / "out")
    assert not data.masks and "key points are left out: boxes alone are taken" in data.said


def test_images_that_exif_turns(tmp_path: Path) -> None:
    """Shares are of the image as it is seen, and so is what training reads."""
    put_yolo(tmp_path, "images", "labels", "ab")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "images/a.jpg", exif=exif)
    describe(tmp_path, train="images", val="images")
    content = convert(find_source(tmp_path)).contents["train"]
    assert [(image["width"], image["height"]) for image in content["images"]] == [
        (20, 40),
        (40, 20),
    ]
    assert content["annotations"][0]["bbox"] == [5, 10, 10, 20]


def test_boxes_among_polygons_are_told(tmp_path: Path) -> None:
    put_yolo(tmp_path, "images", "labels", "ab")
    (tmp_path / "labels/a.txt").write_text("0 0.1 0.1 0.9 0.1 0.9 0.9\n")
    describe(tmp_path, train="images", val="images")
    data = find_objects(tmp_path, tmp_path / "out")
    assert data.masks and "2 of 4 objects are boxes without an outline" in "\n".join(data.said)


def test_voc(tmp_path: Path) -> None:
    put_voc(tmp_path, "images", "annotations", "abcdefgh")
    labels = tmp_path / "annotations"
    text = (labels / "a.xml").read_text()
    size = "<size><width>{}</width><height>{}</height></size><object>"
    bomb = '<!DOCTYPE a [<!ENTITY b "{}"><!ENTITY c "{}"><!ENTITY d "{}"><!ENTITY e "{}">]>'
    bomb = bomb.format("x" * 10_000, "&b;" * 100, "&c;" * 100, "&d;" * 100)
    changed = {
        "a": (text[:40], "label-unparsed ParseError"),
        "b": (
            text.replace(">11<", ">left<"),
            "label-unparsed object 1 (dog) has name 'dog' and box",
        ),
        "c": (text.replace("<object>", size.format(30, 20)), "image-size the file says 30 x 20"),
        "d": (text.replace(">30<", ">300<"), "box-clipped"),
        "e": (text.replace(">11<", ">110<").replace(">30<", ">130<"), "label-outside"),
        "f": (f"{bomb}<annotation>&e;</annotation>", "label-unparsed ParseError"),
        "g": (text.replace("<object>", size.format(0, 0)), ""),
    }
    for stem, (content, _) in changed.items():
        (labels / f"{stem}.xml").write_text(content)
    (tmp_path / "images/h.png").unlink()
    Image.new("RGB", (9, 9)).save(tmp_path / "images/new.png")
    found = told(tmp_path)
    for stem, (_, wanted) in changed.items():
        assert wanted in "".join(found.pop(f"{stem}.xml", "")), stem
    assert set(found) == {"h.xml", "new.png"} and "label-imageless" in found["h.xml"][0]
    assert images_of(tmp_path) == {"d", "g"}
    (tmp_path / "classes.txt").write_text("dig\ncat\n")
    with pytest.raises(UsageError, match="label-unparsed × 3, label-class × 3, image-size × 1"):
        convert(find_source(tmp_path))
    (labels / "a.xml").write_text(text)
    with pytest.raises(UsageError, match="a.xml: object 1 .dog. is a 'dog'.*Did you mean 'dig'"):
        convert(find_source(tmp_path))


def test_labelme_shapes(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg")
    ring = np.zeros((6, 8), np.uint8)
    ring[1:5, 1:7] = 255
    png = io.BytesIO()
    Image.fromarray(ring).save(png, "PNG")
    mask = base64.b64encode(png.getvalue()).decode()
    square = [[1, 1], [5, 1], [5, 5], [1, 5]]
    shapes = [
        BOX,
        dict(label="cat", shape_type="polygon", points=square, group_id=7),
        dict(label="cat", points=[[21, 1], [25, 1], [25, 5], [21, 5]], group_id=7),
        dict(label="ball", shape_type="circle", points=[[20, 10], [20, 14]], group_id=None),
        dict(label="ring", shape_type="mask", points=[[10, 4], [17, 9]], mask=mask),
        dict(label="dog", shape_type="point", points=[[3, 3]]),
        dict(label="dog", shape_type="linestrip", points=square),
        dict(label="__ignore__", shape_type="polygon", points=square),
    ]
    put_labelme(tmp_path / "a.json", shapes, "a.jpg")
    converted = convert(find_source(tmp_path))
    (content,) = converted.contents.values()
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert converted.classes == ("ball", "cat", "dog", "ring")
    of = {names[a["category_id"]]: a for a in content["annotations"]}
    assert of["dog"]["bbox"] == [10, 5, 20, 10] and of["dog"]["area"] == 200
    assert of["cat"]["bbox"] == [1, 1, 24, 4] and of["cat"]["area"] == 32
    assert len(of["cat"]["segmentation"]) == 2 and of["ball"]["bbox"] == [16, 6, 8, 8]
    assert of["ball"]["area"] == pytest.approx(np.pi * 16, rel=0.05)
    assert of["ring"]["bbox"] == [11, 5, 6, 4] and of["ring"]["area"] == 24
    assert "1 rectangles among the outlines have masks of their shape" in converted.said
    kinds = [finding.kind for finding in converted.findings]
    assert sorted(kinds) == ["shape-ignored", "shape-no-area", "shape-no-area"]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (
            dict(shapes=[dict(label="x", shape_type="blob", points=[[1, 1], [2, 2], [3, 1]])]),
            "blob",
        ),
        (dict(shapes=[dict(label="x", points=[[1, 1], [9, 9]])]), "has 2 points"),
        (dict(shapes=[dict(label="x", points=[[1, 1], [9, float("nan")], [3, 3]])]), "no points"),
        (dict(shapes=[dict(points=[[1, 1], [9, 1], [3, 3]])]), "no label"),
        (dict(shapes=[dict(label="x", points=[[50, 1], [59, 1], [53, 3]])]), "lies outside"),
        (dict(shapes=[dict(label="x", points=[[1, 1], [9e9, 1], [3, 3]])]), "polygon"),
        (dict(shapes=[dict(label="x", shape_type="mask", points=[[1, 1]], mask="?")]), "its mask"),
        (dict(shapes="none"), "no list of shapes"),
        (dict(imageWidth=20, imageHeight=40), "20 x 40, the image is 40 x 20"),
        (dict(imagePath="b.jpg"), None),
    ],
)
def test_labelme_files(tmp_path: Path, change: dict, wanted: str | None) -> None:
    for stem in ("a", "ok"):
        Image.new("RGB", (40, 20)).save(tmp_path / f"{stem}.jpg")
        put_labelme(tmp_path / f"{stem}.json", [BOX], f"{stem}.jpg")
    file = tmp_path / "a.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    (tmp_path / "cut.json").write_text('{"shapes": [')
    found = told(tmp_path)
    assert "label-unparsed JSONDecodeError" in found.pop("cut.json")[0]
    assert wanted in found["a.json"][0] if wanted else not found
    assert images_of(tmp_path) == ({"ok"} if wanted else {"a", "ok"})
