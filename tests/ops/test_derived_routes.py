"""Tables that follow from routes."""

import pytest
import torch
from torch._subclasses import FakeTensorMode

from mmmamba.ops import MOVES, expand_routes, move_table, route_table, visit_table
from mmmamba.ops.routes.registry import keep_tables

SNAKES = expand_routes("continuous")[0]


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 1), (3, 4)])
def test_visits_undo_routes(size):
    visits = visit_table((*SNAKES, "column"), *size)
    order = route_table((*SNAKES, "column"), *size)
    steps = torch.arange(size[0] * size[1], dtype=torch.int32).expand_as(order)
    assert torch.equal(visits.gather(1, order.long()), steps) and visits.dtype == torch.int32


def test_positions_that_a_route_leaves_out():
    routes = ("atrous_row_00_step2", "row")
    assert visit_table(routes, 2, 3)[0].tolist() == [0, -1, 1, -1, -1, -1]


def test_moves_on_a_drawn_map():
    """As PlainMamba's sheet draws them on 3x4: none, right, left, up, down are 0 … 4."""
    drawn = {
        "snake": "0 1 1 1 4 2 2 2 4 1 1 1",
        "snake_reversed": "0 2 2 2 3 1 1 1 3 2 2 2",
        "snake_column": "0 4 4 1 3 3 1 4 4 1 3 3",
        "snake_column_reversed": "0 4 4 2 3 3 2 4 4 2 3 3",
    }
    wanted = [[int(number) for number in drawn[name].split()] for name in SNAKES]
    assert move_table(SNAKES, 3, 4).tolist() == wanted
    assert MOVES == ("none", "right", "left", "up", "down")


def test_leaps_are_no_moves():
    with pytest.raises(ValueError, match="2x3"):
        move_table(("row",), 2, 3)


@pytest.mark.parametrize("make", [visit_table, move_table])
def test_tables_are_cached_kept_and_compile(make):
    table = make(SNAKES, 3, 2)
    with keep_tables() as kept:
        assert make(SNAKES, 3, 2) is table
    assert any(x is table for x in kept)

    def read(x):
        return x.flatten(1)[:, make(SNAKES, x.shape[1], x.shape[2], x.device)[0]]

    compiled = torch.compile(read, backend="aot_eager", fullgraph=True, dynamic=True)
    for size in ((3, 2), (4, 5)):
        x = torch.randn(2, *size)
        assert torch.equal(compiled(x), read(x))
    with FakeTensorMode():
        assert make(SNAKES, 3, 2).shape == (4, 6)
