"""`--tile` in training, validation, resuming and tests of a detector."""

from __future__ import annotations

import signal
from copy import deepcopy
from pathlib import Path

import pytest
from mmengine.config import Config

import mmmamba
from mmmamba.checkpoints.last_checkpoint import find_last
from mmmamba.datasets.shapes import ShapesSpec, make_shapes
from mmmamba.engine.open_run import open_run
from mmmamba.engine.preflight import check_run
from mmmamba.errors import UsageError

from .tiny_models import detection
from .tiny_runs import Witness, differences, kill, last, train


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    """Images of 80 pixels, some without objects."""
    spec = ShapesSpec(num_train=3, num_val=2, size=80, empty_every=3, seed=2)
    return make_shapes(tmp_path_factory.mktemp("large") / "shapes", spec)


def config(folder: Path, shapes: Path) -> Config:
    """A tiny detector that validates on whole images."""
    cfg = detection(folder)
    loader = cfg.train_dataloader
    loader.dataset.data_root = str(shapes)
    held_out = deepcopy(loader)
    held_out.sampler = dict(type="DefaultSampler", shuffle=False)
    file = "annotations/instances_val.json"
    held_out.dataset.update(ann_file=file, data_prefix=dict(img="val/"), test_mode=True)
    steps = held_out.dataset.pipeline
    held_out.dataset.pipeline = [step for step in steps if step["type"] != "RandomFlip"]
    evaluator = dict(type="CocoMetric", ann_file=str(shapes / file), metric="bbox")
    cfg.update(val_dataloader=held_out, val_evaluator=evaluator, val_cfg=dict(type="ValLoop"))
    cfg.update(test_dataloader=held_out, test_evaluator=evaluator, test_cfg=dict(type="TestLoop"))
    cfg.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=1, val_interval=1)
    cfg.model.test_cfg.rcnn.score_thr = 0.001
    cfg.visualizer.vis_backends = [dict(type="LocalVisBackend")]
    return cfg


TILES = ("--tile", "48", "--overlap", "0.25")


@pytest.mark.slow
def test_a_run_on_tiles_resumes_exactly_and_is_tested_as_it_was_validated(tmp_path, shapes):
    cfg = config(tmp_path / "one", shapes)
    Witness.watch()
    assert train(cfg, *TILES) == 0
    seen, whole = Witness.seen, last(cfg)
    # Images of 80 pixels are four tiles each, of which empty ones are rarely kept.
    steps = whole["message_hub"]["runtime_info"]["iter"] if "message_hub" in whole else None
    assert {name for row in seen if len(row) == 4 for name in row[2]}
    assert len([row for row in seen if len(row) == 4]) in range(3, 7), steps
    log = next(Path(cfg.work_dir).glob("*/*.log")).read_text()
    assert (
        "--tile 48: train_dataloader, val_dataloader, test_dataloader give tiles of 48 x 48" in log
    )
    assert "the pipelines scale a tile to fit 32x32, 0.667 times its size" in log
    assert Path(cfg.work_dir, "pictures", "val_epoch_1.jpg").is_file()

    other = config(tmp_path / "two", shapes)
    Witness.watch(at=2, act=kill(signal.SIGTERM))
    assert train(other, *TILES) == 75
    before = Witness.seen
    Witness.watch()
    assert train(other, *TILES, "--resume") == 0
    assert before + Witness.seen == seen
    assert not differences(whole["state_dict"], last(other)["state_dict"])

    # The run's folder holds its tiles, the config that it came from does not.
    told = mmmamba.test(cfg.work_dir).metrics
    path = tmp_path / "plain.py"
    cfg.dump(path)
    named = mmmamba.test(
        path, find_last(cfg.work_dir), tile=48, work_dir=str(tmp_path / "t")
    ).metrics
    assert told == named and "coco/bbox_mAP" in told


def test_flags_that_mean_nothing_are_refused(tmp_path, shapes):
    path = tmp_path / "plain.py"
    config(tmp_path, shapes).dump(path)
    with pytest.raises(UsageError, match="--overlap 0.5 is of tiles"):
        open_run(path, overlap=0.5)
    with pytest.raises(UsageError, match="tile is 8, wanted"):
        open_run(path, tile=8)
    with pytest.raises(UsageError, match="--tile 512 is for detectors: segmentors train on crops"):
        open_run("upernet/vmamba_t_160k_ade20k-512x512", tile=512)


def test_tiles_and_metrics_that_do_not_go_together_are_refused(tmp_path, shapes):
    path = tmp_path / "plain.py"
    config(tmp_path, shapes).dump(path)
    tiled = open_run(path, tile=48)
    tiled.test_evaluator.type = "CocoMetric"
    with pytest.raises(UsageError, match="test_evaluator is a CocoMetric, which takes each"):
        check_run(tiled, "test")
    whole = open_run(path)
    whole.test_evaluator.type = "TiledCocoMetric"
    with pytest.raises(UsageError, match="test_dataloader gives whole images"):
        check_run(whole, "test")
    drawn = open_run(path, tile=48)
    drawn.default_hooks.visualization = dict(type="DetVisualizationHook", draw=True)
    with pytest.raises(UsageError, match="mmmamba infer --tile draws"):
        check_run(drawn, "test")
