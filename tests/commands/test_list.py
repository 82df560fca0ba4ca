"""`mmmamba list` finds what there is, for people and for programs."""

from __future__ import annotations

import json

import pytest

from mmmamba import list_backbones
from mmmamba.checkpoints import list_published
from mmmamba.commands import main
from mmmamba.commands.list.rows import list_everything
from mmmamba.config.find import list_configs


def test_a_part_of_a_name(capsys: pytest.CaptureFixture) -> None:
    assert main(["list", "vmamba_t_s2l5"]) == 0
    printed = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert "vmamba_t_s2l5 VMamba 224 30.706 4.858 82.5 published" in lines
    assert "mask_rcnn/vmamba_t_s2l5_1x_coco vmamba_t_s2l5 – 47.4 42.7 – not yet" in lines
    assert any(
        line.startswith("vmamba_t_s2l5 mask_rcnn_1x box AP 47.4, mask AP 42.7 MIT mask_rcnn")
        for line in lines
    )


def test_everything_for_a_program(capsys: pytest.CaptureFixture) -> None:
    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found["backbones"]] == list_backbones()
    assert [row["path"] for row in found["configs"]] == [str(path) for path in list_configs()]
    assert [row["url"] for row in found["weights"]] == [entry.url for entry in list_published()]


def test_one_table_and_a_pattern(capsys: pytest.CaptureFixture) -> None:
    assert main(["list", "vim_[ts]", "--backbones", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["backbones"] and [row["name"] for row in found["backbones"]] == [
        "vim_s",
        "vim_t",
    ]


def test_by_the_name_of_a_file() -> None:
    assert [row["name"] for row in list_everything("vssm1_tiny_0230s")["weights"]] == ["vmamba_t"]


@pytest.mark.parametrize("argv", [["mambavison_t"], ["mambavison_t", "--configs", "--weights"]])
def test_nothing_of_that_name(argv: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(["list", *argv]) == 2
    error = capsys.readouterr().err
    assert (
        error.startswith("error: no ")
        and "Did you mean 'mambavision_t'" in error
        and len(error.splitlines()) == 1
    )
