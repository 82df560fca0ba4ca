"""`mmmamba check-data`: exit codes, findings for people and for programs, contact sheets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from mmmamba.commands import main
from mmmamba.datasets.shapes import ShapesSpec, make_shapes


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Drawn shapes, and a config for them in the current folder."""
    monkeypatch.chdir(tmp_path)
    root = make_shapes(tmp_path / "shapes", ShapesSpec(num_train=6, num_val=3, size=64))
    assert (
        main(
            [
                "new",
                "--backbone",
                "vmamba_t",
                "--head",
                "mask_rcnn",
                "--data",
                str(root),
                "--out",
                "mine.py",
            ]
        )
        == 0
    )
    return root


def test_a_clean_data_set(shapes: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["check-data", "mine.py"]) == 0
    printed = capsys.readouterr().out
    assert "clean" in printed and "circle" in printed and "triangle" in printed
    for split in ("train", "val"):
        with Image.open(f"work_dirs/mine/data/{split}.png") as sheet:
            assert (
                sheet.width > 800
                and len(set(sheet.convert("RGB").resize((64, 64)).getdata())) > 100
            )


def test_faults_are_counted_and_named(shapes: Path, capsys: pytest.CaptureFixture) -> None:
    file = shapes / "annotations/instances_train.json"
    content = json.loads(file.read_text())
    first = content["annotations"][0]
    first["bbox"] = [500, 500, 10, 10]
    content["annotations"].append({**first, "id": 10_000, "category_id": 77})
    file.write_text(json.dumps(content))
    (shapes / "train/train_00001.png").unlink()
    assert (
        main(
            ["check-data", "mine.py", "--json", "found.json", "--splits", "train", "--samples", "4"]
        )
        == 1
    )
    printed = capsys.readouterr().out
    assert "box lies outside of the image × 1" in printed and "3 faults" in printed
    (split,) = json.loads(Path("found.json").read_text())
    found = {
        finding["kind"]: finding for finding in split["findings"] if finding["severity"] != "note"
    }
    assert set(found) == {"box-outside", "category-unknown", "image-missing"} and not split["clean"]
    (example,) = found["box-outside"]["examples"]
    assert example["annotation"] == first["id"] and example["file"] == str(file)
    assert found["image-missing"]["examples"][0]["file"].endswith("train/train_00001.png")
    assert Path("work_dirs/mine/data/train.png").is_file()


def test_images_in_both_splits(shapes: Path, capsys: pytest.CaptureFixture) -> None:
    file = "annotations/instances_train.json"
    same = [
        f"val_dataloader.dataset.ann_file={file}",
        "val_dataloader.dataset.data_prefix.img=train",
        f"val_evaluator.ann_file={shapes}/{file}",
    ]
    assert main(["check-data", "mine.py", "--samples", "0", "--cfg-options", *same]) == 0
    assert "image is in training and in validation × 6" in capsys.readouterr().out


def test_wrong_input(shapes: Path, capsys: pytest.CaptureFixture) -> None:
    capsys.readouterr()
    assert main(["check-data", "min.py"]) == 2
    assert "there is no config file min.py" in capsys.readouterr().err
    assert (
        main(
            [
                "check-data",
                "mine.py",
                "--cfg-options",
                "train_dataloader.dataset.type=CocoPanopticDataset",
            ]
        )
        == 2
    )
    assert "mmmamba checks CocoDataset" in capsys.readouterr().err
    assert (
        main(
            [
                "check-data",
                "mine.py",
                "--cfg-options",
                "train_dataloader.dataset.data_root=/nowhere/",
            ]
        )
        == 2
    )
    assert "/nowhere/annotations/instances_train.json" in capsys.readouterr().err
