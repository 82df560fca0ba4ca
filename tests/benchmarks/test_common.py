"""What the scripts of benchmarks/ share."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import common


def some_table() -> common.Table:
    table = common.Table(
        "speed",
        "a title",
        common.Column("model", "model"),
        common.Column("ms", "ms", ".1f"),
        common.Column("same", "same"),
    )
    table.add(model="a", ms=1.26, same=True, kept=7)
    table.add(model="b", ms=common.NAN, same=False)
    table.add(model="c")
    return table


def test_printed_figures_are_rounded_and_missing_ones_empty(capsys) -> None:
    some_table().show()
    lines = [re.split(r"\s*│\s*", line) for line in capsys.readouterr().out.splitlines()]
    cells = [line[1:4] for line in lines if len(line) == 5]
    assert cells == [["a", "1.3", "yes"], ["b", "nan", "NO"], ["c", "", ""]]


def test_a_record_keeps_rows_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    common.save(file, some_table(), gpus=2)
    record = json.loads(file.read_text())
    assert record["gpus"] == 2
    assert record["tables"]["speed"] == [
        dict(model="a", ms=1.26, same=True, kept=7),
        dict(model="b", ms=None, same=False),
        dict(model="c"),
    ]


def test_a_record_says_when_where_and_how(tmp_path: Path, monkeypatch) -> None:
    script = str(common.ROOT / "benchmarks" / "vim_gpu.py")
    monkeypatch.setattr("sys.argv", [script, "--size", "64"])
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    file = tmp_path / "record.json"
    common.save(file, some_table())
    about = json.loads(file.read_text())["about"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", about["date"])
    assert about["hardware"]
    assert {"python", "torch"} <= about["versions"].keys()
    assert about["command"].endswith("OMP_NUM_THREADS=3 python benchmarks/vim_gpu.py --size 64")


def test_without_a_file_nothing_is_written(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    common.save(None, some_table())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("missed", "code"), [([], 0), (["slow"], 1)])
def test_what_is_missed_is_told_and_the_exit_code(missed: list[str], code: int, capsys) -> None:
    assert common.verdict(missed, "reached") == code
    assert capsys.readouterr().out == ("MISSED slow\n" if missed else "reached\n")


def test_wall_time_is_of_one_call() -> None:
    calls = []
    assert common.wall_ms(lambda: calls.append(1), 5) >= 0
    assert len(calls) == 5
