"""Training with bad data from the command line: one line that names it, or a count in the log."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from mmmamba.engine.hooks.bad_data import BadDataHook

from ..tiny_models import detection, segmentation
from ..tiny_runs import train


@pytest.fixture(autouse=True)
def no_workers_left() -> Iterator[None]:
    """PyTorch waits ten seconds for workers that the garbage collector ends."""
    yield
    # By type(): isinstance() looks through weak references of other tests, whose objects are gone.
    for loader in [
        found for found in gc.get_objects() if type(found) is _MultiProcessingDataLoaderIter
    ]:
        loader._shutdown_workers()


def logged(folder: Path) -> str:
    return "\n".join(path.read_text() for path in (folder / "run").rglob("*.log"))


def spoil_images(folder: Path, *names: int) -> list[Path]:
    images = sorted((folder / "shapes" / "train").iterdir())
    for number in names:
        images[number].write_bytes(images[number].read_bytes()[:200])
    return [images[number] for number in names]


@pytest.mark.parametrize("workers", [0, 2])
def test_training_stops_at_a_bad_image_with_one_line(tmp_path, capsys, workers: int) -> None:
    cfg = detection(tmp_path)
    cfg.train_dataloader.update(num_workers=workers, persistent_workers=bool(workers))
    [bad] = spoil_images(tmp_path, 3)
    assert train(cfg) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert (
        message.startswith(f"error: {bad}, image ")
        and "Traceback" not in message
        and "--skip-bad-data" in message
    )


def test_training_leaves_bad_data_out_and_counts_them(tmp_path) -> None:
    cfg = detection(tmp_path)
    cfg.train_dataloader.update(num_workers=2, persistent_workers=True)
    cfg.train_cfg.max_epochs = 1
    bad = spoil_images(tmp_path, 3, 5)
    file = tmp_path / "shapes" / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"] = [1, 2, float("nan"), 4]
    file.write_text(json.dumps(content))
    assert train(cfg, "--skip-bad-data") == 0
    log = logged(tmp_path)
    assert (
        "1: box is not four finite numbers" in log
        and f"annotation {content['annotations'][0]['id']}" in log
    )
    assert log.count("bad images left out of training") >= 1 and any(
        str(path) in log for path in bad
    )
    [ledger] = (tmp_path / "run").rglob("bad_data_rank0.jsonl")
    named = [json.loads(line)["what"] for line in ledger.read_text().splitlines()]
    # Each once, and whenever it was drawn in place of another.
    assert len(named) >= 2 and all(any(str(path) in what for path in bad) for what in named)
    assert f"{len(named)} bad images left out of training" in log


def test_segmentation_stops_at_a_label_of_no_class(tmp_path, capsys) -> None:
    import cv2

    cfg = segmentation(tmp_path)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    labels = sorted((tmp_path / "shapes" / "labels" / "train").iterdir())[3]
    values = cv2.imread(str(labels), cv2.IMREAD_UNCHANGED)
    values[5, 5] = 200
    cv2.imwrite(str(labels), values)
    assert train(cfg) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert (
        message.startswith("error: ")
        and f"{labels} holds 200" in message
        and "in 1 pixels" in message
    )


def test_a_pipeline_that_a_hook_exchanges_is_checked_too(tmp_path, capsys) -> None:
    cfg = detection(tmp_path)
    [bad] = spoil_images(tmp_path, 3)
    good = bad.with_name("good.png")
    good.write_bytes(min(bad.parent.iterdir()).read_bytes())
    pipeline = cfg.train_dataloader.dataset.pipeline
    cfg.custom_hooks.append(
        dict(type="PipelineSwitchHook", switch_epoch=0, switch_pipeline=pipeline)
    )
    assert train(cfg) == 2
    assert str(bad) in capsys.readouterr().err


def test_the_saved_config_is_the_users_own(tmp_path) -> None:
    """Inference tools read the test pipeline out of it."""
    cfg = detection(tmp_path)
    cfg.train_cfg.max_epochs = 1
    assert train(cfg) == 0
    [saved] = [path.read_text() for path in (tmp_path / "run").glob("*.py")]
    assert (
        "CocoDataset" in saved and "_build_leaf" not in saved and BadDataHook.__name__ not in saved
    )
