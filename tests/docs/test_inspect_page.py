"""The page on inspecting: its pictures are there, its functions too, and its Python runs."""

import re
from pathlib import Path

import mmmamba.visualization

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "inspect.md").read_text()


def test_pictures_are_there_and_small():
    paths = re.findall(r"!\[.*?\]\((.*?)\)", PAGE)
    assert len(paths) == 5 and all((DOCS / path).stat().st_size < 150_000 for path in paths)


def test_functions_of_the_table_exist():
    table = PAGE[PAGE.index("| computes |"):]
    names = re.findall(r"`([a-z]+_[a-z_]+)`", table[: table.index("\n\n")])
    assert len(names) > 10 and set(names) <= set(mmmamba.visualization.__all__)


def test_the_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = {}
    exec(*re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL), space)
    assert space["scan"].name == "layers.2.blocks.7.op" and space["attention"].by_route_KHW.shape == (4, 6, 8)
    assert {path.name for path in tmp_path.iterdir()} == {"scan.png", "attention.png"}
