"""docs/python.md runs from its first block to its last, on a few photographs of blood cells."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from .blocks import ROOT, run_page

CELLS = next(
    (found for folder in ROOT.parents if (found := folder / "shared/data/bccd").is_dir()), None
)


def few_cells(folder: Path) -> None:
    """Two photographs to train on and one to validate on, and another without labels."""
    for split, most in (("train", 2), ("val", 1)):
        name = f"annotations/instances_{split}.json"
        content = json.loads((CELLS / name).read_text())
        content["images"] = content["images"][:most]
        kept = {image["id"] for image in content["images"]}
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
        for image in content["images"]:
            target = folder / split / image["file_name"]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CELLS / split / image["file_name"], target)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    shutil.copyfile(target, folder / "val/photo.jpg")


# One epoch from nothing finds nothing, so there is no metric to stop by.
@pytest.mark.filterwarnings("ignore:Skip early stopping")
@pytest.mark.skipif(CELLS is None, reason="no shared/data/bccd beside the checkout")
def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    few_cells(tmp_path / "cells")
    run_page("docs/python.md", notebook=True)
    assert Path("work_dirs/cells/epoch_1.pth").is_file() and Path("found.jpg").is_file()
