"""Pages that lead from nothing to a prediction, and to a change of mmmamba itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mmmamba.datasets.shapes import ShapesSpec, make_shapes

from ..datasets.formats.exports import load, to_yolo
from ..test_imports import ORDER
from .blocks import ROOT, arguments, blocks, main, run_page


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_your_data() -> None:
    shapes = make_shapes("shapes", ShapesSpec(num_train=4, num_val=2, size=64))
    contents = {split: load(shapes.resolve(), split) for split in ("train", "val")}
    described = dict(train="../images/train", val="../images/val")
    to_yolo(contents, shapes.resolve(), Path("my_yolo"), described=described)
    run_page(
        "docs/your_data.md",
        special={"--work-dir try": try_out},
        parsed=("mmmamba train", "mmmamba test", "mmmamba infer"),
    )


def try_out(line: str) -> None:
    """With one step, and without worker processes, which take longer to start than they work."""
    for split, images, fewer in (("train", 4, 2), ("val", 2, 1)):
        loader = f"{split}_dataloader"
        line = line.replace(
            f"{loader}.dataset.indices={images}", f"{loader}.dataset.indices={fewer}"
        )
        line += f" {loader}.num_workers=0 {loader}.persistent_workers=False"
    assert main(arguments(line)) == 0 and Path("try/epoch_1.pth").is_file()


def test_get_started() -> None:
    """Its steps are those of `make demo`, your_data.md and inference.md, which run there."""
    run_page(
        "docs/get_started.md",
        parsed=("make", "source", "infer", "mmmamba new", "check-data", "mmmamba train"),
    )


def test_home() -> None:
    """Its commands are those of inspect.md and your_data.md, which run there."""
    commands = ("pip", "inspect", "mmmamba new", "check-data", "mmmamba train", "infer")
    run_page("docs/index.md", parsed=commands)


def test_contributing() -> None:
    run_page("CONTRIBUTING.md", parsed=("make", "source"))


def test_the_layout_that_newcomers_read_names_every_package() -> None:
    (tree,) = [block.text for block in blocks("CONTRIBUTING.md") if block.language == "text"]
    named = re.findall(r"^  (\w+)/", tree, re.MULTILINE)
    assert tuple(named) == ORDER, "the order of tests/test_imports.py"
    for path in re.findall(r"^(\w+)/", tree, re.MULTILINE):
        assert (ROOT / path).is_dir()
