"""Labels of VisDrone and DOTA become COCO files that a tiled data set reads."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from tools.aerial_to_coco import DOTA, VISDRONE, main

from .conftest import ROOT

VISDRONE_LINES = (
    "10,20,30,15,1,4,0,0",  # a car
    "0,0,50,10,0,0,0,0,",  # a region that nobody labelled
    "60,5,8,8,1,11,0,0",  # in none of the classes
    "90,40,30,30,1,1,1,2",  # reaches beyond the image
    "5,50,9,8,0,10,0,0",  # ignored
    "200,50,9,8,1,10,0,0",  # outside
)
DOTA_LINES = (
    "imagesource:GoogleEarth",
    "gsd:0.146",
    "20.0 10.0 40.0 20.0 30.0 40.0 10.0 30.0 ship 0",
    "50 50 70 50 70 60 50 60 helicopter 1",
)


def convert(folder: Path, kind: str, labels: str, lines: tuple[str, ...]) -> dict:
    for name in ("images", labels):
        (folder / name).mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "images/P0.png"), np.zeros((80, 100, 3), np.uint8))
    (folder / labels / "P0.txt").write_text("\n".join(lines))
    assert main([kind, str(folder), str(folder / "out/train.json")]) == 0
    return json.loads((folder / "out/train.json").read_text())


def test_visdrone(tmp_path, capsys):
    content = convert(tmp_path, "visdrone", "annotations", VISDRONE_LINES)
    assert [one["name"] for one in content["categories"]] == [*VISDRONE]
    assert content["images"] == [dict(id=1, file_name="P0.png", width=100, height=80)]
    objects = [one for one in content["annotations"] if not one["iscrowd"]]
    told = [(VISDRONE[one["category_id"] - 1], one["bbox"]) for one in objects]
    assert told == [("car", [10, 20, 30, 15]), ("pedestrian", [90, 40, 10, 30])]
    # The region is a crowd of every class; what has no score, of its own.
    crowds = [one["category_id"] for one in content["annotations"] if one["iscrowd"]]
    assert crowds == [*range(1, 11), 10]
    assert "1 images, 2 objects, 11 to be ignored (iscrowd); left out: 1" in capsys.readouterr().out


def test_dota(tmp_path):
    content = convert(tmp_path, "dota", "labelTxt", DOTA_LINES)
    told = [
        (DOTA[one["category_id"] - 1], one["bbox"], one["iscrowd"])
        for one in content["annotations"]
    ]
    assert told == [("ship", [10, 10, 30, 30], 0), ("helicopter", [50, 50, 20, 10], 1)]


@pytest.mark.parametrize(
    ("kind", "labels", "line", "said"),
    [
        ("visdrone", "annotations", "1,2,3", "P0.txt:1: wanted eight numbers"),
        ("visdrone", "annotations", "1,2,3,4,1,12,0,0", "category 12, wanted 0 … 11"),
        ("dota", "labelTxt", "1 2 3 4 5 6 7 8 shipp 0", "one of DOTA-v1.0's classes"),
    ],
)
def test_lines_that_are_none_are_named(tmp_path, capsys, kind, labels, line, said):
    with pytest.raises(AssertionError):
        convert(tmp_path, kind, labels, (line,))
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("name", "classes"), [("visdrone", VISDRONE), ("dota-hbb", DOTA)])
def test_the_configs_have_these_classes(name, classes):
    cfg = Config.fromfile(ROOT / f"configs/tiled/vmamba_t_1x_{name}.py")
    for split in ("train", "val", "test"):
        assert cfg[f"{split}_dataloader"].dataset.dataset.metainfo.classes == classes
    assert cfg.model.roi_head.bbox_head.num_classes == len(classes)
    assert cfg.val_evaluator.type == "TiledCocoMetric"
