"""Each hostile file through each door: an error and exit code 2, in time, and nothing is run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import mmmamba  # noqa: F401  (before mmdet, which imports mmcv's operators)
from mmmamba.models.backbones.vmamba import VMamba

from ..engine.tiny_models import BACKBONE, detection
from ..engine.tiny_runs import train
from .corpus import ALL, ATTACKS, STATE
from .doors import Place, behind
from .programs import MARK

LIMIT = 40
"""Seconds. What a door does before it opens a file takes one on a processor of its own."""
THROUGH_ALL = ("pairs of pairs as a key", "NaN behind attributes", "a moment of another shape")
"""Given to every door by the fast test: one file each for the reading, the weights, the state."""
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, dict[str, Any]]]:
    """A detector that was trained for a step, and its checkpoint."""
    folder = tmp_path_factory.mktemp("attacked")
    arch = "vmamba_attacked"
    VMamba.ARCHS[arch] = VMamba.Arch(**BACKBONE["arch"])
    cfg = detection(folder)
    cfg.custom_hooks = []
    cfg.train_cfg.max_epochs = 1
    cfg.train_dataloader.dataset.update(indices=2, serialize_data=False)
    cfg.optim_wrapper.optimizer.fused = True
    dataset = dict(cfg.train_dataloader.dataset, test_mode=True)
    cfg.test_dataloader = dict(batch_size=1, num_workers=0, dataset=dataset)
    cfg.test_dataloader.sampler = dict(type="DefaultSampler", shuffle=False)
    cfg.test_cfg = {}
    annotations = folder / "shapes" / dataset["ann_file"]
    cfg.test_evaluator = dict(type="CocoMetric", metric="bbox", ann_file=str(annotations))
    assert train(cfg) == 0
    good = torch.load(next((folder / "run").glob("*.pth")), weights_only=False)
    cfg.train_cfg.max_epochs = 2
    cfg.dump(folder / "detector.py")
    image = min((folder / "shapes" / "train").iterdir())
    yield Place(folder / "detector.py", image, arch), good
    del VMamba.ARCHS[arch]


def faults(
    attacked: tuple[Place, dict], title: str, doors: tuple[str, ...], root: Path
) -> list[str]:
    """What is wrong with how these doors take a file."""
    place, good = attacked
    suffix = ".safetensors" if "safetensors" in title else ".pth"
    found = []
    for door in doors:
        folder = root / re.sub(r"\W+", "_", f"{title} {door}")
        folder.mkdir()
        file = folder / f"epoch_1{suffix}"
        ATTACKS[title].write(file, good)
        outcome = behind(place.doors(file)[door], LIMIT, folder)
        # Only these are looked for in a work dir.
        refused = door in ATTACKS[title].refused and (suffix == ".pth" or door != "train --resume")
        if fault := outcome.fault(refused):
            found.append(f"{title}, {door}: {fault}")
        if (folder / MARK).exists():
            found.append(f"{title}, {door}: it ran")
    return found


def test_the_door_is_open_to_an_honest_file(attacked, tmp_path: Path) -> None:
    """Or all others would be refused for another reason."""
    place, good = attacked
    for number, door in enumerate(ALL):
        folder = tmp_path / str(number)
        folder.mkdir()
        torch.save(good, folder / "epoch_1.pth")
        outcome = behind(place.doors(folder / "epoch_1.pth")[door], LIMIT, folder)
        assert outcome.code == 0, (door, outcome)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("title", THROUGH_ALL)
def test_some_files_through_every_door(title: str, attacked, tmp_path: Path) -> None:
    assert not faults(attacked, title, ATTACKS[title].refused, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_file_through_one_door(attacked, tmp_path: Path) -> None:
    """The fastest, which takes the backbone alone; what stands beside it is nothing to it."""
    titles = [title for title in ATTACKS if title not in STATE]
    assert not [
        fault
        for title in titles
        for fault in faults(attacked, title, ("create_backbone",), tmp_path)
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("title", ATTACKS)
def test_every_file_through_every_door(title: str, attacked, tmp_path: Path) -> None:
    assert not faults(attacked, title, ALL, tmp_path)


def test_the_page_says_how_many_were_tried() -> None:
    attempts = (
        f"{len(ATTACKS)} hostile files through {len(ALL)} doors, {len(ATTACKS) * len(ALL)} attempts"
    )
    assert attempts in " ".join(PAGE.read_text().split()), attempts
