"""The tables of the pages are those that the stored results make."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

# Scripts of one folder import one another by name, as they do when they are run.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
tables = importlib.import_module("tables")
cells, pages = (importlib.import_module(name) for name in ("cells", "pages"))

RECORDS = sorted(cells.RESULTS.glob("*.json"))


def test_pages_show_the_stored_results() -> None:
    stale = [str(path.relative_to(tables.ROOT)) for path in tables.stale_pages()]
    assert not stale, f"{stale} differ from benchmarks/results: run `python benchmarks/tables.py`"


def test_every_table_stands_on_one_page() -> None:
    assert sorted(tables.marked_tables()) == sorted(tables.TABLES)


def test_every_record_is_shown() -> None:
    sources = {page.source.file for page in tables.TABLES.values()} | {
        pages.ORIGINALS.file,
        pages.DEFAULT_ORIGINALS.file,
    }
    assert {path.stem for path in RECORDS} == sources


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_records_say_what_their_numbers_come_from(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    about = record["about"]
    assert about["hardware"]
    assert "command" in about or "transcribed" in about
    # Whatever is not from a page is a run that says all.
    assert "transcribed" in about or {"versions", "command"} <= about.keys()
    for rows in record["tables"].values():
        assert rows
        assert all(isinstance(row, dict) for row in rows)


def test_another_number_makes_the_page_stale(tmp_path: Path, monkeypatch) -> None:
    for path in RECORDS:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    file = tmp_path / "fsdp_gpu.json"
    record = json.loads(file.read_text())
    record["tables"]["fsdp"][0]["ms"] += 1
    file.write_text(json.dumps(record))
    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    assert [path.name for path in tables.stale_pages()] == ["many_gpus.md"]


def test_an_unknown_table_is_an_error() -> None:
    with pytest.raises(KeyError, match="no table 'speeds'; there are defaults"):
        tables.made_anew("<!-- table: speeds -->\n| a |\n<!-- end -->\n")


def test_what_was_not_measured_is_an_empty_cell() -> None:
    page = pages.Page(
        pages.ORIGINALS, {"a": pages.number("a"), "b": pages.text("b")}, arrange=lambda _: ROWS
    )
    assert page.markdown() == "| a | b |\n| --- | --- |\n| 2 | |\n| | 3 x 4 |\n"


ROWS = [dict(a=2.4, b=None), dict(a=None, b=[3, 4])]
