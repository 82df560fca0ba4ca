"""What is wrong with folders of classes: `mmmamba check-data`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mmpretrain")

import mmmamba
from mmmamba.commands import main

from .core_data import draw_splits


def check(place: Path | str, *options: str) -> tuple[int, dict[str, dict[str, dict]]]:
    """The exit code, and findings by split and kind."""
    code = main(["check-data", str(place), "--samples", "0", "--json", "found.json", *options])
    found = {}
    for report in json.loads(Path("found.json").read_text()):
        found[report["split"]] = {one["kind"]: one for one in report["findings"]}
    return code, found


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return draw_splits(tmp_path / "data")


def spoil(data: Path) -> None:
    train, val = data / "train", data / "val"
    shutil.copy(train / "red/red_0.png", val / "red/other name.png")
    shutil.copy(train / "red/red_1.png", train / "blue/blue_9.png")
    shutil.copy(train / "red/red_2.png", train / "red/red_9.png")
    shutil.copy(train / "red/red_3.png", train / "loose.png")
    (train / "green/green_0.png").write_bytes(b"")
    whole = (val / "green/green_0.png").read_bytes()
    (val / "green/green_0.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.full((8, 60, 3), 9, np.uint8)).save(train / "green/strip.png")
    Image.fromarray(np.full((40, 40), 9, np.uint16)).save(train / "green/deep.png")
    Image.fromarray(np.full((40, 40, 4), 9, np.uint8)).save(train / "green/clear.png")
    Image.fromarray(np.full((40, 40, 3), 9, np.uint8)).save(train / "green/other.webp")
    shutil.rmtree(val / "blue")


def test_whole_folders_have_nothing_wrong(data: Path, capsys: pytest.CaptureFixture) -> None:
    mmmamba.new("vmamba_t", "classifier", data, "mine.py")
    for place in (data, "mine.py"):
        assert main(["check-data", str(place), "--out", "drawn"]) == 0
        printed = capsys.readouterr().out
        assert "clean" in printed and "33.3" in printed
        # Images are counted once: a class is all that they have.
        assert printed.count("class  images") == 2
        assert {path.name for path in Path("drawn").iterdir()} == {"train.png", "val.png"}
        shutil.rmtree("drawn")


def test_what_is_wrong_is_found_with_a_config_and_without(data: Path) -> None:
    mmmamba.new("vmamba_t", "classifier", data, "mine.py")
    spoil(data)
    code, found = check(data)
    assert code == 1
    assert set(found["train"]) == {
        "image-unreadable",
        "image-classes",
        "image-again",
        "image-classless",
        "image-tiny",
        "image-long",
        "image-deep",
        "image-alpha",
    }
    assert set(found["val"]) == {"image-unreadable", "image-both", "class-unscored"}
    (both,) = found["val"]["image-both"]["examples"]
    assert both["file"].endswith("other name.png") and "red_0.png" in both["detail"]
    assert found["train"]["image-unreadable"]["examples"][0]["detail"] == "0 bytes"
    # Where headers alone are read, bytes are compared all the same.
    assert "image-both" in check(data, "--quick")[1]["val"]

    code, found = check("mine.py")
    assert code == 1
    # The config reads no such ending, and its validation has another number of folders.
    assert found["train"]["image-ending"]["examples"][0]["file"].endswith("other.webp")
    assert set(found["val"]) == {"class-folders-other"}
    assert "only classes: blue" in found["val"]["class-folders-other"]["examples"][0]["detail"]


def test_what_is_no_data_set_is_told_in_a_line(data: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["check-data", str(data / "train/red")]) == 2
    assert "or folders of classes" in capsys.readouterr().err
