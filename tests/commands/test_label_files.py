"""`new` and `check-data` on labels that are not COCO's."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from mmmamba.commands import main

from ..datasets.formats.test_layouts import ROBOFLOW, describe, put_yolo


@pytest.fixture
def yolo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set as Roboflow exports it, in the current folder."""
    monkeypatch.chdir(tmp_path)
    put_yolo(tmp_path / "my_yolo", "train/images", "train/labels", "abcd")
    put_yolo(tmp_path / "my_yolo", "valid/images", "valid/labels", "ef")
    return describe(tmp_path / "my_yolo", **ROBOFLOW)


def test_from_yolo_labels_to_a_config(yolo: Path, capsys: pytest.CaptureFixture) -> None:
    words = "new --backbone vmamba_t --head rtmdet --data my_yolo/data.yaml"
    assert main(words.split()) == 0
    assert "../train/images is not there" in capsys.readouterr().out
    config = "my_yolo_vmamba_t_rtmdet.py"
    cfg = Config.fromfile(config)
    assert cfg.metainfo.classes == ("cat", "dog") and cfg.model.bbox_head.num_classes == 2
    assert Path(cfg.train_dataloader.dataset.ann_file).is_file()
    assert main(["check-data", config, "--samples", "2"]) == 0
    assert Path(f"work_dirs/{Path(config).stem}/data/train.png").is_file()
    # A label file that breaks is seen, and named by the config that is written anew.
    (yolo.parent / "train/labels/b.txt").write_text("1 0.5\n")
    assert main(["check-data", config, "--samples", "0"]) == 1
    assert "label file changed since it was converted × 1" in capsys.readouterr().out
    assert main([*words.split(), "--force"]) == 0
    assert "b.txt: line 1 has 2 numbers" in capsys.readouterr().out
    assert main(["check-data", config, "--samples", "0"]) == 1
    printed = capsys.readouterr().out
    assert "b.txt: line 1 has 2 numbers" in printed and "1 faults" in printed


def test_data_without_a_config(yolo: Path, capsys: pytest.CaptureFixture) -> None:
    before = sorted(yolo.parent.rglob("*"))
    assert main(["check-data", "my_yolo", "--splits", "train"]) == 0
    assert "YOLO labels of" in capsys.readouterr().out
    assert Path("work_dirs/my_yolo/data/train.png").is_file()
    (yolo.parent / "valid/labels/e.txt").write_text("9 0.5 0.5 0.1 0.1\n")
    assert main(["check-data", "my_yolo/data.yaml", "--samples", "0", "--json", "found.json"]) == 1
    assert "e.txt: line 1 has class 9" in capsys.readouterr().out
    assert "label-class" in Path("found.json").read_text()
    assert sorted(yolo.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("new --head rtmdet --data my_yolo/data.yml", "Did you mean 'data.yaml'?"),
        ("new --head rtmdet --data my_yolo/train/labels/a.txt", "or the data.yaml of YOLO labels"),
        ("new --head upernet --data my_yolo", "has YOLO annotations; upernet learns from label"),
        ("new --head mask_rcnn --data my_yolo", "have no masks, which mask_rcnn learns from"),
        (
            "new --head rtmdet --data empty",
            "no labels of objects, which rtmdet learns from: wanted",
        ),
        ("check-data empty", "no labels of objects: wanted COCO, YOLO"),
        ("check-data my_yolo --cfg-options a=1", "leave --cfg-options away"),
    ],
)
def test_what_cannot_work_is_one_line(yolo: Path, capsys, words: str, wanted: str) -> None:
    Path("empty").mkdir()
    backbone = ["--backbone", "vmamba_t"] if words.startswith("new") else []
    assert main([*words.split(), *backbone]) == 2
    message = capsys.readouterr().err
    assert wanted in message and len(message.splitlines()) == 1
