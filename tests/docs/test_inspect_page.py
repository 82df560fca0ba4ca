"""The page on inspecting: its pictures are there, its functions too, and its Python runs."""

import re
from pathlib import Path

import mmmamba.visualization

from ..commands import test_inspect
from .blocks import run_page

image = test_inspect.image
detector = test_inspect.detector
DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "inspect.md").read_text()


def test_pictures_are_there_and_small():
    paths = re.findall(r"!\[.*?\]\((.*?)\)", PAGE)
    assert len(paths) == 5 and all((DOCS / path).stat().st_size < 150_000 for path in paths)


def test_functions_of_the_table_exist():
    table = PAGE[PAGE.index("| computes |") :]
    names = re.findall(r"`([a-z]+_[a-z_]+)`", table[: table.index("\n\n")])
    assert len(names) > 10 and set(names) <= set(mmmamba.visualization.__all__)


def test_the_page(detector, image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("work_dirs").mkdir()
    Path("work_dirs/demo").symlink_to(detector)
    Path("photo.jpg").symlink_to(image)
    run_page("docs/inspect.md", special={"import": python})
    assert {path.stem for path in Path("inspect").rglob("*.png")} == {
        "scan",
        "attention",
        "features",
        "cam",
        "erf",
    }


def python(block):
    space = {}
    exec(block, space)
    assert space["scan"].name == "layers.2.blocks.7.op" and space[
        "attention"
    ].by_route_KHW.shape == (4, 6, 8)
    assert Path("scan.png").is_file() and Path("attention.png").is_file()
