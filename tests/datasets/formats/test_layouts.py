"""The layouts in which label files are found, and how they are split."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from PIL import Image

from mmmamba.datasets.discovery import find_objects
from mmmamba.datasets.layout import Part
from mmmamba.errors import UsageError


def put_yolo(root: Path, images: str, labels: str, stems: str) -> None:
    """Images of 40 x 20 with one box each, of class 1."""
    for folder in (root / images, root / labels):
        folder.mkdir(parents=True, exist_ok=True)
    for stem in stems:
        Image.new("RGB", (40, 20)).save(root / images / f"{stem}.jpg")
        (root / labels / f"{stem}.txt").write_text("1 0.5 0.5 0.5 0.5\n")


def describe(root: Path, name: str = "data.yaml", **keys: object) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(yaml.safe_dump(dict(names=["cat", "dog"]) | keys))
    return root / name


def stems(part: Part) -> str:
    """Names of the images of a split, which must be where its file says."""
    images = json.loads(part.annotations.read_text())["images"]
    assert all((part.images / image["file_name"]).is_file() for image in images)
    return "".join(sorted(Path(image["file_name"]).stem for image in images))


def found(place: Path, out: Path, share: float | None = None) -> tuple[str, str, list[str]]:
    """What trains, what validates and what was said."""
    data = find_objects(place, out, share)
    content = json.loads(data.train.annotations.read_text())
    if content["annotations"]:
        assert content["annotations"][0]["bbox"] == [10, 5, 20, 10]
    return stems(data.train), stems(data.val), data.said


ROBOFLOW = dict(train="../train/images", val="../valid/images", test="../test/images", nc=2)


@pytest.mark.parametrize(
    ("folders", "described"),
    [
        (["images/train labels/train", "images/val labels/val"], dict(train="images/train")),
        (["train/images train/labels", "valid/images valid/labels"], ROBOFLOW),
        (["train/images train/labels", "val/images val/labels"], dict(train="train", val="val")),
        (["train train", "val val"], dict(train="train")),
        (
            ["images/train2017 labels/train2017", "images/val2017 labels/val2017"],
            dict(path="../datasets/coco", train="images/train2017", val="images/val2017"),
        ),
        (
            ["images/train labels/train", "images/val labels/val"],
            dict(path="C:\\set", train="images\\train", names={0: "cat", 1: "dog"}),
        ),
        (
            ["a/images a/labels", "images/val labels/val"],
            dict(train=["a/images"], val=["images/val"], kpt_shape=None, test=None),
        ),
    ],
)
def test_yolo(tmp_path: Path, folders: list[str], described: dict) -> None:
    root = tmp_path / "set"
    for folder, names in zip(folders, ("ab", "c")):
        put_yolo(root, *folder.split(), names)
    file = describe(
        root, **dict(val="images/val" if "images/val" in folders[1] else "val") | described
    )
    assert found(file, tmp_path / "out")[:2] == ("ab", "c")
    # Named or found in the folder, or in the one above.
    assert found(root, tmp_path / "out")[:2] == ("ab", "c")
    assert found(tmp_path, tmp_path / "out")[:2] == ("ab", "c")


def test_yolo_lists_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_yolo(tmp_path, "images/all", "labels/all", "abcd")
    (tmp_path / "train.txt").write_text(
        "./images/all/a.jpg\nimages/all/b.jpg\n\nimages/all/a.jpg\n"
    )
    (tmp_path / "val.txt").write_text("/content/set/images/all/c.jpg\nimages/all/gone.jpg\n")
    file = describe(tmp_path, path=".", train="train.txt", val="val.txt")
    train, val, said = found(file, tmp_path / "out")
    assert (train, val) == ("ab", "c")
    told = "\n".join(said)
    assert "train: 1 images are named twice" in told and told.count("gone.jpg is not there") == 1
    # A folder that is meant from where the command runs.
    monkeypatch.chdir(tmp_path)
    elsewhere = describe(tmp_path / "sub", train="images/all", val="images/all")
    assert found(elsewhere, tmp_path / "out")[0] == "abcd"


def test_yolo_without_a_description(tmp_path: Path) -> None:
    root = tmp_path / "set"
    put_yolo(root, "obj_train_data", "obj_train_data", "abcdefghij")
    with pytest.raises(UsageError, match="nothing that names their classes. Write classes.txt"):
        find_objects(root, tmp_path / "out")
    names = root / "obj.names"
    for text, wanted in ((b"\xff", "no text in UTF-8"), (b"", "no class"), (b"a\na\n", "a twice")):
        names.write_bytes(text)
        with pytest.raises(UsageError, match=f"obj.names .*{wanted}"):
            find_objects(root, tmp_path / "out", 0.2)
    names.write_text("cat\ndog\n")
    with pytest.raises(UsageError, match="--val-share 0.2"):
        find_objects(root, tmp_path / "out")
    train, val, said = found(root, tmp_path / "out", 0.2)
    assert len(train) == 8 and len(val) == 2 and "obj.names" in said[1]
    assert sorted(train + val) == list("abcdefghij")


def test_one_folder_for_both_is_told_or_divided(tmp_path: Path) -> None:
    """As the sample sets coco8 and coco128 have it."""
    root = tmp_path / "set"
    put_yolo(root, "images/train2017", "labels/train2017", "abcde")
    describe(root, "coco5.yaml", train="images/train2017", val="images/train2017")
    train, val, said = found(root, tmp_path / "out")
    assert train == val == "abcde" and "its score says nothing" in "\n".join(said)
    train, val, _ = found(root, tmp_path / "out", 0.2)
    assert len(train) == 4 and sorted(train + val) == list("abcde")


def test_a_share_beside_a_validation_split_is_refused(tmp_path: Path) -> None:
    put_yolo(tmp_path, "train/images", "train/labels", "ab")
    put_yolo(tmp_path, "valid/images", "valid/labels", "c")
    file = describe(tmp_path, **ROBOFLOW)
    with pytest.raises(UsageError, match="has a validation split.*leave --val-share away"):
        find_objects(file, tmp_path / "out", 0.2)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (dict(train="nowhere", val="images"), "nowhere under train, which is not there"),
        (dict(train="images", val="images", names=None, nc=2), "nc: 2 alone does not name them"),
        (dict(train="images", val="images", nc=3), "says nc: 3 and names 2 classes"),
        (dict(train="images", val="images", names=["a", True]), "names class 1 True.*in quotes"),
        (dict(train="images", val="images", names=["a", "a"]), "two classes named a"),
        (dict(train="images", val="images", names={"a": "b"}), "class number 'a'"),
        (dict(train="images", val=3), "a int under val"),
        (dict(val="images"), "names no images under train"),
        (dict(), "no description of YOLO data"),
        (dict(train="labels", val="images"), "under train, has no images"),
    ],
)
def test_what_is_wrong_with_a_description(tmp_path: Path, keys: dict, message: str) -> None:
    put_yolo(tmp_path, "images", "labels", "ab")
    with pytest.raises(UsageError, match=message):
        find_objects(describe(tmp_path, **keys), tmp_path / "out")
    (tmp_path / "data.yaml").write_text("names: [a\n")
    with pytest.raises(UsageError, match="data.yaml is no YAML"):
        find_objects(tmp_path, tmp_path / "out")


def put_voc(root: Path, images: str, labels: str, names: str, **texts: object) -> None:
    """Images of 40 x 20 with one box each, counted from 1."""
    for folder in (root / images, root / labels):
        folder.mkdir(parents=True, exist_ok=True)
    for stem in names:
        Image.new("RGB", (40, 20)).save(root / images / f"{stem}.png")
        tree = ElementTree.Element("annotation")
        # The name that it had before somebody renamed the files.
        ElementTree.SubElement(tree, "filename").text = "IMG_1.JPG"
        node = ElementTree.SubElement(tree, "object")
        box = ElementTree.SubElement(node, "bndbox")
        for tag, text in (dict(name="dog") | texts).items():
            ElementTree.SubElement(node, tag).text = str(text)
        for tag, value in dict(xmin=11, ymin=6, xmax=30, ymax=15).items():
            ElementTree.SubElement(box, tag).text = str(value)
        (root / labels / f"{stem}.xml").write_bytes(ElementTree.tostring(tree))


@pytest.mark.parametrize(
    "folders",
    [
        ["train train", "valid valid"],
        ["images/train annotations/train", "images/val annotations/val"],
        ["train/images train/annotations", "test/images test/annotations"],
    ],
)
def test_voc_in_folders(tmp_path: Path, folders: list[str]) -> None:
    for folder, names in zip(folders, ("ab", "c")):
        put_voc(tmp_path, *folder.split(), names)
    assert found(tmp_path, tmp_path / "out")[:2] == ("ab", "c")


def test_voc_lists(tmp_path: Path) -> None:
    root = tmp_path / "VOCdevkit/VOC2007"
    put_voc(root, "JPEGImages", "Annotations", "abcde", difficult=1)
    put_voc(root, "JPEGImages", "Annotations", "f", name="cat")
    lists = root / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "dog_train.txt").write_text("a  1\nb -1\n")
    (lists / "trainval.txt").write_text("a\nb\nf\nnobody\n")
    (lists / "test.txt").write_text("c\nd\n")
    data = find_objects(tmp_path, tmp_path / "out")
    assert (stems(data.train), stems(data.val), data.classes) == ("abf", "cd", ("cat", "dog"))
    content = json.loads(data.train.annotations.read_text())
    assert [a["iscrowd"] for a in content["annotations"]] == [1, 1, 0]
    told = "\n".join(data.said)
    assert "5 difficult objects" not in told and "4 difficult objects" in told
    assert "left out: 1 annotated images" in told and "'nobody' is listed" in told
    (root.parent / "VOC2012/ImageSets/Main").mkdir(parents=True)
    with pytest.raises(UsageError, match="2 VOC data sets: name one"):
        find_objects(tmp_path, tmp_path / "out")


def test_boxes_that_begin_at_0_are_counted_from_0(tmp_path: Path) -> None:
    put_voc(tmp_path, "images", "annotations", "abc")
    file = tmp_path / "annotations/a.xml"
    file.write_text(file.read_text().replace("<xmin>11<", "<xmin>0<"))
    data = find_objects(tmp_path, tmp_path / "out", 0.3)
    assert "boxes are counted from 0, as some begin there" in data.said
    boxes = []
    for part in (data.train, data.val):
        boxes += [a["bbox"] for a in json.loads(part.annotations.read_text())["annotations"]]
    assert sorted(boxes) == [[0, 6, 30, 9], [11, 6, 19, 9], [11, 6, 19, 9]]


def put_labelme(file: Path, shapes: list[dict], image: str, size: tuple = (40, 20)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    content = dict(version="5.5.0", flags={}, shapes=shapes, imagePath=image, imageData=None)
    file.write_text(json.dumps(content | dict(imageWidth=size[0], imageHeight=size[1])))


BOX = dict(label="dog", shape_type="rectangle", points=[[30, 15], [10, 5]])


@pytest.mark.parametrize("place", ["train", "images/train", "photos/train"])
def test_labelme(tmp_path: Path, place: str) -> None:
    """Beside the images, in a folder that mirrors theirs, and by the path in the file."""
    for split, names in (("train", "ab"), ("val", "c")):
        folder = place.replace("train", split)
        (tmp_path / folder).mkdir(parents=True)
        for stem in names:
            Image.new("RGB", (40, 20)).save(tmp_path / folder / f"{stem}.jpg")
            labels = split if place == "train" else f"labels/{split}"
            up = "" if place == "train" else f"..\\..\\{folder}\\".replace("/", "\\")
            put_labelme(tmp_path / labels / f"{stem}.json", [BOX], f"{up}{stem}.jpg")
    assert found(tmp_path, tmp_path / "out")[:2] == ("ab", "c")


def test_what_was_converted_is_not_taken_for_data(tmp_path: Path) -> None:
    """Where the command runs in the folder of the data, the second run reads the labels, too."""
    put_voc(tmp_path, "images", "annotations", "abc")
    for _ in range(2):
        data = find_objects(tmp_path, tmp_path / "mine_data", 0.3)
        assert data.said[0] == f"Pascal VOC labels of {tmp_path}"


def test_coco_files_go_first_and_others_are_named(tmp_path: Path) -> None:
    put_yolo(tmp_path, "train/images", "train/labels", "ab")
    put_yolo(tmp_path, "valid/images", "valid/labels", "c")
    file = describe(tmp_path, **ROBOFLOW)
    data = find_objects(file, tmp_path / "out")
    (tmp_path / "annotations").mkdir()
    for part in (data.train, data.val):
        content = json.loads(part.annotations.read_text())
        (tmp_path / "annotations" / part.annotations.name).write_text(
            json.dumps(content | dict(info={}))
        )
    again = find_objects(tmp_path, tmp_path / "out")
    assert again.train.annotations == tmp_path / "annotations/train.json"
    assert f"--data {file} reads YOLO labels" in again.said[-1]
