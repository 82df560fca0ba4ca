"""A run that was stopped and resumed is, bit for bit, the run that was not."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmmamba.engine.reliability.interrupt import EXIT_SAVED

from ..tiny_models import (
    Noise,
    Smallness,
    detection,
    on_shapes,
    segmentation,
    toy,
    validated,
    witnessed,
)
from ..tiny_runs import Witness, differences, kill, last, train


def compare(
    cfg: Config, stop: int, batch: int | None = None, options: tuple[str, ...] = ()
) -> None:
    """Train with a SIGTERM, resume, and train the same through.

    The signal comes in iteration `stop`, or in a batch of the validation after it.
    """
    folder = Path(cfg.work_dir)
    # Without a seed, a run has to keep the one that it drew.
    cfg.randomness = dict(seed=None)
    cfg.work_dir = str(folder / "stopped")
    Witness.watch(stop, kill(signal.SIGTERM), batch)
    assert train(cfg, *options) == EXIT_SAVED
    seen = Witness.seen
    assert len(seen) == 2 * stop
    Witness.watch()
    assert train(cfg, "--resume", *options) == 0
    resumed, seen, rng = last(cfg), seen + Witness.seen, Witness.rng

    cfg.work_dir = str(folder / "through")
    cfg.randomness = dict(seed=resumed["meta"]["seed"])
    Witness.watch()
    assert train(cfg, *options) == 0
    assert len(seen) == 2 * 10 and seen == Witness.seen
    assert differences(last(cfg), resumed) == []
    assert differences(Witness.rng, rng) == []


def squeeze_every_other_image(root: Path) -> None:
    """To half its width, so that there are two groups of aspect ratios."""
    path = root / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    squeezed = {image["id"] for image in content["images"][::2]}
    for image in content["images"]:
        if image["id"] in squeezed:
            image["width"] //= 2
            file = root / "train" / image["file_name"]
            Image.open(file).resize((image["width"], image["height"])).save(file)
    for annotation in content["annotations"]:
        annotation.pop("segmentation")
        if annotation["image_id"] in squeezed:
            x, y, width, height = annotation["bbox"]
            annotation.update(bbox=[x / 2, y, width / 2, height], area=annotation["area"] / 2)
    path.write_text(json.dumps(content))


def test_detection_within_an_epoch_with_workers_grouped_batches_and_mosaics(tmp_path: Path) -> None:
    cfg = detection(tmp_path)
    squeeze_every_other_image(Path(cfg.train_dataloader.dataset.data_root))
    # Each worker's first mosaic comes after the stop and needs the images that it loaded before.
    mosaic = dict(type="CachedMosaic", img_scale=(32, 32), max_cached_images=5)
    cfg.train_dataloader.dataset.pipeline.insert(2, mosaic)
    sampler = dict(type="AspectRatioBatchSampler")
    cfg.train_dataloader.update(num_workers=2, persistent_workers=True, batch_sampler=sampler)
    compare(cfg, stop=3)


def test_segmentation_by_iterations_with_workers(tmp_path: Path) -> None:
    cfg = segmentation(tmp_path)
    cfg.train_dataloader.num_workers = 2
    compare(cfg, stop=5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("options", [(), ("--amp",), ("--graphs", "2"), ("--amp", "--graphs", "2")])
def test_on_a_gpu(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Loss scales are resumed; a capture in the first step draws no random numbers."""
    cfg = on_shapes("mask_rcnn/vmamba_t_1x_coco", tmp_path, images=8, size=128, iterations=10)
    cfg.train_dataloader.num_workers = 2
    compare(witnessed(cfg, tmp_path), stop=5, options=("--deterministic", *options))


@pytest.mark.parametrize("stop", [3, 5])
def test_epochs(tmp_path: Path, stop: int) -> None:
    cfg = toy(tmp_path)
    loader = cfg.train_dataloader
    loader.batch_size = 4
    loader.dataset = dict(type="RepeatDataset", times=2, dataset=loader.dataset)
    compare(cfg, stop)


@pytest.mark.parametrize("workers", [0, 2])
def test_iterations_over_several_passes(tmp_path: Path, workers: int) -> None:
    cfg = toy(tmp_path)
    cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=10)
    cfg.train_dataloader.update(num_workers=workers, batch_size=4)
    compare(cfg, stop=5)


EPOCHS = dict(type="EpochBasedTrainLoop", max_epochs=2)
ITERATIONS = dict(type="IterBasedTrainLoop", max_iters=10, val_interval=5)


@pytest.mark.parametrize(
    ("loop", "batch"),
    [
        (EPOCHS, None),
        (EPOCHS, 0),
        (ITERATIONS, 3),
        pytest.param(EPOCHS, 3, marks=pytest.mark.slow),
        pytest.param(ITERATIONS, None, marks=pytest.mark.slow),
        pytest.param(ITERATIONS, 0, marks=pytest.mark.slow),
    ],
)
def test_a_validation_that_was_left_is_done_again(
    tmp_path: Path, loop: dict, batch: int | None
) -> None:
    cfg = validated(toy(tmp_path))
    cfg.train_cfg = loop
    compare(cfg, stop=5, batch=batch)


def test_a_validation_that_was_done_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = validated(toy(tmp_path))
    Witness.watch()
    reached = []

    def reach() -> None:
        reached.append(1)
        if len(reached) == 1:
            kill(signal.SIGTERM)()

    monkeypatch.setattr(Smallness, "reached", staticmethod(reach))
    assert train(cfg) == EXIT_SAVED
    assert last(cfg)["meta"]["iter"] == 5
    assert train(cfg, "--resume") == 0
    assert len(reached) == 2 and len(Witness.seen) == 2 * 10


def test_nothing_of_the_skipped_batches_is_read(tmp_path: Path) -> None:
    cfg = toy(tmp_path)
    Witness.watch(4, kill(signal.SIGTERM))
    assert train(cfg) == EXIT_SAVED
    Noise.reads.clear()
    assert train(cfg, "--resume") == 0
    assert len(Noise.reads) == (10 - 4) * 2


def test_accumulated_gradients_are_waited_for(tmp_path: Path) -> None:
    cfg = toy(tmp_path)
    cfg.optim_wrapper.accumulative_counts = 4
    cfg.default_hooks.nan_guard = None
    Witness.watch(6, kill(signal.SIGUSR1))
    assert train(cfg) == EXIT_SAVED
    assert last(cfg)["meta"]["iter"] == 8
