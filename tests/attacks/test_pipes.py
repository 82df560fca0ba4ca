"""A pipe in the place of a file of a data set is named at once, not waited for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mmmamba.commands import main

from ..engine import tiny_runs  # noqa: F401
from ..engine.tiny_models import detection, segmentation
from .doors import Outcome, behind

LIMIT = 30


def piped(path: Path) -> Path:
    path.unlink()
    os.mkfifo(path)
    return path


def checked(build: Callable, folder: Path, what: str, which: int = 1) -> tuple[Outcome, Path]:
    """`check-data` of the training split of a config, one file of which is a pipe."""
    cfg = build(folder)
    cfg.dump(folder / "config.py")
    path = piped(sorted((folder / "shapes" / what).glob("*train*"))[which])
    words = ["check-data", str(folder / "config.py"), "--splits", "train"]
    return behind(lambda: main([*words, "--out", str(folder / "out")]), LIMIT), path


@pytest.mark.parametrize("build, what", [(detection, "train"), (segmentation, "labels/train")])
def test_check_data_names_it(tmp_path: Path, build: Callable, what: str) -> None:
    outcome, path = checked(build, tmp_path, what)
    assert outcome.code == 1 and path.name in outcome.said, outcome
    assert "it is a pipe, not a file" in " ".join(outcome.said.split()), outcome


def test_check_data_names_annotations(tmp_path: Path) -> None:
    outcome, path = checked(detection, tmp_path, "annotations", 0)
    assert outcome.code in (1, 2) and path.name in outcome.said and "a pipe" in outcome.said, (
        outcome
    )


@pytest.mark.parametrize("what", ["train", "annotations"])
def test_training_names_it(tmp_path: Path, what: str) -> None:
    cfg = detection(tmp_path)
    cfg.dump(tmp_path / "config.py")
    path = piped(min((tmp_path / "shapes" / what).glob("*train*")))
    outcome = behind(lambda: main(["train", str(tmp_path / "config.py")]), LIMIT)
    assert outcome.code == 2 and path.name in outcome.error and "a pipe" in outcome.error, outcome
