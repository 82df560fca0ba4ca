"""`mmmamba config` prints values with their origins, and says what is wrong in a line."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from mmmamba.commands import main

NAME = "mask_rcnn/vmamba_t_1x_coco"


def test_values_and_origins(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    dump = tmp_path / "whole.py"
    options = ["--dump", str(dump), "--cfg-options", "model.neck.num_outs=6"]
    assert main(["config", NAME, "model.neck", "model.nek"]) == 2
    capsys.readouterr()
    assert main(["config", NAME, "model.backbone.arch", "model.neck", *options]) == 0
    lines = [
        line.split("  # ")
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("model.")
    ]
    found = {value.rstrip(): Path(origin.partition(":")[0]).name for value, origin in lines}
    assert found == {
        "model.backbone.arch = 'vmamba_t'": "vmamba_t_1x_coco.py",
        "model.neck.type = 'FPN'": "mask_rcnn_fpn.py",
        "model.neck.out_channels = 256": "mask_rcnn_fpn.py",
        "model.neck.num_outs = 6": "--cfg-options",
        "model.neck.in_channels = [96, 192, 384, 768]": "vmamba_t_1x_coco.py",
    }
    assert Config.fromfile(dump).model.neck.num_outs == 6


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([NAME, "model.bakbone"], "'model.backbone'"),
        ([NAME, "--cfg-options", "model.backbone.drop_path=1"], "'model.backbone.drop_path_rate'"),
        ([NAME + "o"], f"'{NAME}'"),
        ([NAME, "model.neck", "--dump", "whole.txt"], "ends in .py"),
    ],
)
def test_wrong_input(argv: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["config", *argv]) == 2
    error = capsys.readouterr().err
    assert (
        error.startswith("error: ")
        and len(error.splitlines()) == 1
        and message.split(".")[-1].strip("'") in error
    )


@pytest.mark.parametrize(
    "text", ["model = dict(type=Mask)", "x = {}['y']", "_base_ = './none.py'", "x = ("]
)
def test_a_file_that_cannot_be_read(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "mine.py").write_text(text + "\n")
    assert main(["config", str(tmp_path / "mine.py")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'mine.py'} cannot be read: ")
