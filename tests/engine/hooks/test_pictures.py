"""Short trainings leave the pictures that docs/training_outputs.md names."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import cv2
import pytest
from mmengine.config import Config

from mmmamba.engine.hooks.pictures import add_pictures
from mmmamba.engine.tracking import TRACKERS, add_trackers
from mmmamba.errors import UsageError
from mmmamba.evaluation.scalars import read_scalars, series

from ..tiny_models import detection, segmentation, toy
from ..tiny_runs import train


def validated(cfg: Config, evaluator: dict, **dataset: object) -> Config:
    """With a validation, and with what is logged written down."""
    loader = deepcopy(cfg.train_dataloader)
    loader.sampler = dict(type="DefaultSampler", shuffle=False)
    loader.dataset.update(test_mode=True, **dataset)
    loader.dataset.pipeline = [
        step for step in loader.dataset.pipeline if step["type"] != "RandomFlip"
    ]
    cfg.update(val_dataloader=loader, val_evaluator=evaluator, val_cfg=dict(type="ValLoop"))
    cfg.visualizer.vis_backends = [dict(type="LocalVisBackend")]
    return cfg


def pictures(cfg: Config) -> dict[str, tuple[int, int]]:
    """Names and sizes (height, width) of the run's pictures; each shows something."""
    found = {}
    for path in sorted(Path(cfg.work_dir, "pictures").iterdir()):
        image = cv2.imread(str(path))
        assert image.std() > 8, path
        found[path.name] = image.shape[:2]
    return found


def test_detection_over_a_restart(tmp_path: Path) -> None:
    cfg = detection(tmp_path)
    ann_file = "annotations/instances_val.json"
    evaluator = dict(type="CocoMetric", ann_file=str(tmp_path / "shapes" / ann_file), metric="bbox")
    cfg = validated(cfg, evaluator, ann_file=ann_file, data_prefix=dict(img="val/"))
    cfg.model.test_cfg.rcnn.score_thr = 0.01
    cfg.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=2, val_interval=1)
    cfg.default_hooks.pictures = dict(type="PicturesHook", score_thr=0.05)
    assert train(cfg) == 0
    first = pictures(cfg)
    assert [*first] == [
        "batch_0.jpg",
        "confusion.png",
        "curves.png",
        "pr_curve.png",
        "val_epoch_1.jpg",
        "val_epoch_2.jpg",
    ]
    # Two images a batch; two images of validation, each labelled and predicted.
    assert first["batch_0.jpg"][1] == 2 * 480 + 3 * 8
    assert first["val_epoch_2.jpg"][1] == 4 * 480 + 5 * 8
    batch = Path(cfg.work_dir, "pictures", "batch_0.jpg").read_bytes()
    cfg.train_cfg.max_epochs = 3
    assert train(cfg, "--resume") == 0
    assert {*pictures(cfg)} == {*first, "batch_10.jpg", "val_epoch_3.jpg"}
    assert Path(cfg.work_dir, "pictures", "batch_0.jpg").read_bytes() == batch
    training, validation = read_scalars(cfg.work_dir)
    assert series(training, "loss")[0] == [*range(1, 16)]
    assert series(validation, "coco/bbox_mAP")[0] == [1, 2, 3]


def test_segmentation(tmp_path: Path) -> None:
    cfg = segmentation(tmp_path)
    prefix = dict(img_path="val", seg_map_path="labels/val")
    cfg = validated(cfg, dict(type="IoUMetric", iou_metrics=["mIoU"]), data_prefix=prefix)
    cfg.train_cfg.update(max_iters=4, val_interval=2)
    assert train(cfg, "--cfg-options", "default_hooks.pictures.images=1") == 0
    assert pictures(cfg)["val_iter_4.jpg"][1] == 2 * 480 + 3 * 8
    assert [*pictures(cfg)] == [
        "batch_0.jpg",
        "confusion.png",
        "curves.png",
        "iou.png",
        "val_iter_2.jpg",
        "val_iter_4.jpg",
    ]
    # The count of pixels adds nothing to what is logged.
    scored = json.loads(
        next(Path(cfg.work_dir).glob("*/vis_data/scalars.json")).read_text().splitlines()[-1]
    )
    assert {*scored} == {"aAcc", "mIoU", "mAcc", "data_time", "time", "step"}


def test_none_are_left_where_none_are_wanted(tmp_path: Path) -> None:
    cfg = toy(tmp_path)
    assert train(cfg, "--no-pictures") == 0
    assert not Path(cfg.work_dir, "pictures").exists()
    cfg = Config(dict(default_hooks=dict(pictures=None)))
    add_pictures(cfg)
    assert "pictures" not in cfg.default_hooks


def test_what_is_not_of_mmdet_or_mmseg_trains_without(tmp_path: Path) -> None:
    cfg = toy(tmp_path)
    assert train(cfg) == 0
    assert not Path(cfg.work_dir, "pictures").exists()
    log = next(Path(cfg.work_dir).glob("*/*.log")).read_text()
    assert "no pictures of batches: their data set names no classes" in log


def test_a_full_disk_costs_pictures_and_rows_not_the_run(tmp_path: Path) -> None:
    cfg = toy(tmp_path)
    cfg.visualizer.vis_backends = [dict(type="LocalVisBackend")]
    Path(cfg.work_dir).mkdir()
    Path(cfg.work_dir, "pictures").write_text("a file in the place of the folder")
    Path(cfg.work_dir, "results.csv").mkdir()
    assert train(cfg) == 0
    log = next(Path(cfg.work_dir).glob("*/*.log")).read_text()
    assert "curves.png not drawn: " in log and "results.csv not written: " in log


def test_trackers(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = Config(
        dict(visualizer=dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")]))
    )
    with pytest.raises(
        UsageError, match="--log-to tensorbord: known are .*Did you mean 'tensorboard'"
    ):
        add_trackers(cfg, ["tensorbord"])
    # Packages that are there and not, whatever is installed here.
    monkeypatch.setitem(TRACKERS, "wandb", ("WandbVisBackend", "no_such_package"))
    with pytest.raises(
        UsageError, match="needs the package no_such_package: pip install no_such_package"
    ):
        add_trackers(cfg, ["wandb"])
    monkeypatch.setitem(TRACKERS, "tensorboard", ("TensorboardVisBackend", "torch"))
    add_trackers(cfg, ["tensorboard", "tensorboard"])
    assert cfg.visualizer.vis_backends == [
        dict(type="LocalVisBackend"),
        dict(type="TensorboardVisBackend"),
    ]


def test_tensorboard_gets_numbers_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cfg = segmentation(tmp_path)
    cfg.visualizer.vis_backends = [dict(type="LocalVisBackend")]
    cfg.train_cfg.max_iters = 2
    assert train(cfg, "--log-to", "tensorboard") == 0
    events = EventAccumulator(str(next(Path(cfg.work_dir).glob("*/vis_data/events*"))))
    events.Reload()
    assert "loss" in events.Tags()["scalars"]
    assert {"pictures/batch_0", "pictures/curves"} <= {*events.Tags()["images"]}
