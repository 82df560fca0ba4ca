"""Pictures of routes show the route."""

import re

import pytest
from PIL import Image

from mmmamba.visualization import draw_routes
from tools import draw_routes as tool


def lines(axes) -> list:
    return [
        tuple(map(tuple, segment))
        for collection in axes.collections
        for segment in collection.get_segments()
    ]


def test_a_line_leads_from_each_cell_to_the_next():
    (axes,) = draw_routes(["column"], 2, 3).axes
    neighbours, jumps = (collection.get_segments() for collection in axes.collections)
    assert [tuple(map(tuple, s)) for s in neighbours] == [
        ((0, 0), (0, 1)),
        ((0, 1), (1, 0)),
        ((1, 0), (1, 1)),
        ((1, 1), (2, 0)),
        ((2, 0), (2, 1)),
    ] and not len(jumps)
    assert [text.get_text() for text in axes.texts] == [str(step) for step in range(6)]
    assert axes.get_images()[0].get_array().tolist() == [[0, 2, 4], [1, 3, 5]]


def test_jumps_are_apart_from_steps_and_holes_are_marked():
    (axes,) = draw_routes(["window2"], 3, 3).axes
    neighbours, jumps = (collection.get_segments() for collection in axes.collections)
    assert len(neighbours) + len(jumps) + 3 == 8, (
        "three of the steps between the nine cells pass over holes"
    )
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert sum(len(line.get_xdata()) for line in crosses) == 4
    assert axes.get_title() == "window2 (7 holes)"


def test_files_are_small_pictures(tmp_path):
    draw_routes(["hilbert", "hilbert_reversed"], 7, 10, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG" and len(picture.getcolors()) > 10
    assert (tmp_path / "a.png").stat().st_size < 30_000


def test_what_cannot_be_drawn_is_an_error():
    with pytest.raises(ValueError, match="0x3"):
        draw_routes(["row"], 0, 3)
    with pytest.raises(ValueError, match="at least one"):
        draw_routes([], 3, 3)
    with pytest.raises(KeyError, match="Did you mean 'hilbert'"):
        draw_routes(["hilbrt"], 3, 3)


def test_the_tool_draws_routes_and_sets(tmp_path, capsys):
    assert (
        tool.main(
            [
                "window3_reversed",
                "bidirectional",
                "--size",
                "4",
                "5",
                "--out",
                str(tmp_path / "new"),
            ]
        )
        == 0
    )
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "bidirectional.png",
        "window3_reversed.png",
    ]
    for wrong, message in (
        (["hilbrt"], "Did you mean 'hilbert'"),
        (["row", "--size", "0", "4"], "at least 1 1"),
    ):
        with pytest.raises(SystemExit):
            tool.main([*wrong, "--out", str(tmp_path)])
        assert re.search(message, capsys.readouterr().err)
