"""Every script of benchmarks/ says what it does, without a GPU, and records what it measures."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = [
    path
    for path in sorted(FOLDER.rglob("*.py"))
    if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
]
PAGES = {"tables.py", "choose.py"}
"""Which write pages, and measure nothing."""
ELSEWHERE = {"learn/run.py", "learn/overfit.py", "drop_in/page.py", *PAGES}
"""Which write into a work dir, or pages."""


def name_of(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_help(path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert ended.value.code == 0
    assert ("--out" in capsys.readouterr().out) == (name_of(path) not in ELSEWHERE)


def test_the_readme_names_every_script() -> None:
    named = set(re.findall(r"benchmarks/([\w/]+\.py)", (FOLDER / "README.md").read_text()))
    assert named == {name_of(path) for path in SCRIPTS}


def test_clocks_and_records_are_written_once() -> None:
    """In `common.py`, which all but what has another task use."""
    for path in SCRIPTS:
        content = path.read_text(encoding="utf-8")
        if path.parent == FOLDER and path.name not in PAGES:
            assert "from common import" in content, path
            assert "rich.table" not in content and "do_bench(" not in content, path
