"""`last_checkpoint` that is none is one line, wherever it is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmmamba.checkpoints.last_checkpoint import LAST, find_last, name_for, read_last
from mmmamba.commands import main
from mmmamba.errors import UsageError

from ..tiny_models import toy
from ..tiny_runs import train

SPOILED = {
    "binary": (lambda path: path.write_bytes(b"\xff\xfe\x00"), "is no text"),
    "folder": (lambda path: path.mkdir(), "is no file"),
    "pipe": (lambda path: os.mkfifo(path), "is no file"),
    "long": (lambda path: path.write_text("a" * 5000), "more than a path"),
    "lines": (lambda path: path.write_text("a.pth\nb.pth"), "more than a path"),
    "loop": (lambda path: path.symlink_to(path), ""),
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_what_is_no_note_is_named(spoil: str, tmp_path: Path) -> None:
    make, message = SPOILED[spoil]
    make(tmp_path / LAST)
    if message:
        with pytest.raises(UsageError, match=f"{LAST} .*{message}.*Remove it"):
            read_last(tmp_path)
    else:
        # As a link to nothing: there is no note.
        assert read_last(tmp_path) == ""


@pytest.mark.parametrize("spoil", ["binary", "folder"])
def test_every_command_that_reads_it(
    spoil: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    cfg = toy(tmp_path)
    run = Path(cfg.work_dir)
    run.mkdir()
    SPOILED[spoil][0](run / LAST)
    torch.save({}, run / "epoch_1.pth")
    (run / "config.py").write_text("model = dict()\n")
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    for command in (
        lambda: train(cfg, "--resume"),
        lambda: main(["infer", str(run), str(tmp_path / "photo.png")]),
    ):
        capsys.readouterr()
        assert command() == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {run / LAST} is no ")


def test_a_file_of_the_folder_itself_comes_first(tmp_path: Path) -> None:
    """As MMEngine's hook names it, in a copied folder; the current one plays no part."""
    run, original = tmp_path / "run", tmp_path / "original"
    for folder in (run, original, run / "below"):
        folder.mkdir()
        (folder / "iter_5.pth").touch()
    (original / "iter_9.pth").touch()
    for named, found in {
        "iter_5.pth": run / "iter_5.pth",
        str(original / "iter_5.pth"): run / "iter_5.pth",
        str(original / "iter_9.pth"): original / "iter_9.pth",
        "../original/iter_9.pth": run / "../original/iter_9.pth",
        "s3://a/iter_5.pth": "s3://a/iter_5.pth",
    }.items():
        (run / LAST).write_text(named)
        assert find_last(run) == str(found)
    assert name_for(run / "iter_5.pth", run) == "iter_5.pth"
    assert name_for(original / "iter_9.pth", run) == "../original/iter_9.pth"
    assert name_for("s3://a/iter_5.pth", run) == "s3://a/iter_5.pth"
