"""Routes are what they claim to be."""

import pytest
import torch
from torch._subclasses import FakeTensorMode

from mmmamba.ops import list_routes, register_route, route, route_table
from mmmamba.ops.routes import _EXACT

SIZES = [(1, 1), (1, 5), (5, 1), (3, 4), (7, 7), (13, 11)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", sorted(_EXACT))
def test_exact_routes_visit_every_position_once(name, size):
    assert sorted(route(name, *size).tolist()) == list(range(size[0] * size[1]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", list_routes())
def test_no_position_twice_and_reverses_are_reverses(name, size):
    order = route(name, *size)
    visited = order[order >= 0].tolist()
    assert len(set(visited)) == len(visited) and set(visited) <= set(range(size[0] * size[1]))
    assert torch.equal(route(f"{name}_reversed", *size), order.flip(0))


def test_rows_and_columns_on_a_drawn_map():
    assert route("row", 2, 3).tolist() == [0, 1, 2, 3, 4, 5]
    assert route("column", 2, 3).tolist() == [0, 3, 1, 4, 2, 5]


def test_table_is_cached_and_pads_with_holes():
    register_route("test_first_half")(lambda height, width: torch.arange(height * width // 2))
    table = route_table(("row", "test_first_half"), 2, 3)
    assert (
        table.tolist() == [[0, 1, 2, 3, 4, 5], [0, 1, 2, -1, -1, -1]] and table.dtype == torch.int32
    )
    assert route_table(("row", "test_first_half"), 2, 3) is table
    with pytest.raises(ValueError, match="leave 3 of the 2x3 positions unvisited"):
        route_table(("test_first_half",), 2, 3)


def test_wrong_routes_are_errors():
    with pytest.raises(KeyError, match="Did you mean 'column'"):
        route("colunm", 2, 2)
    with pytest.raises(ValueError, match="already registered"):
        register_route("row")(lambda height, width: torch.arange(height * width))
    register_route("test_twice")(lambda height, width: torch.zeros(2, dtype=torch.long))
    register_route("test_outside")(lambda height, width: torch.arange(height * width + 1))
    for name, message in (("test_twice", "twice"), ("test_outside", "leaves the map")):
        with pytest.raises(ValueError, match=message):
            route_table((name,), 2, 2)


def test_tables_compile_for_changing_sizes():
    def visit(x):
        table = route_table(("column", "row_reversed"), x.shape[1], x.shape[2], x.device)
        return x.flatten(1)[:, table[0]] + x.flatten(1)[:, table[1]]

    compiled = torch.compile(visit, backend="aot_eager", fullgraph=True, dynamic=True)
    for size in [(2, 3), (4, 5), (7, 2)]:
        x = torch.arange(size[0] * size[1]).view(1, *size).float()
        assert torch.equal(compiled(x), visit(x))


def test_skip_sampling_on_a_drawn_map():
    assert route("atrous_row_00_step2", 4, 5).tolist() == [0, 2, 4, 10, 12, 14]
    assert route("atrous_column_10_step2", 4, 5).tolist() == [5, 15, 7, 17, 9, 19]
    assert route("atrous_row_01_step2", 4, 5).tolist() == [1, 3, -1, 11, 13, -1]
    assert route("atrous_column_11_step2", 4, 5).tolist() == [6, 16, 8, 18, -1, -1]
    assert route("atrous_row_21_step3", 4, 5).tolist() == [11, 14, -1, -1]
    with pytest.raises(ValueError, match="below the step"):
        route("atrous_row_20_step2", 4, 5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_skip_sampling_shares_the_map_out(size, step):
    names = [
        f"atrous_row_{row}{column}_step{step}" for row in range(step) for column in range(step)
    ]
    table = route_table(names, *size)
    assert sorted(table[table >= 0].tolist()) == list(range(size[0] * size[1]))


def test_a_table_made_in_inference_mode_serves_training():
    with torch.inference_mode():
        table = route_table(("row", "column"), 3, 17)
    assert not table.is_inference()


def inside_grad(make):
    torch.func.grad(lambda x: x * make().sum())(torch.ones(()))


def inside_jvp(make):
    torch.func.jvp(lambda x: x * make().sum(), (torch.ones(()),), (torch.ones(()),))


def inside_fake_tensors(make):
    with FakeTensorMode():
        make()


@pytest.mark.parametrize("context", [inside_grad, inside_jvp, inside_fake_tensors])
@pytest.mark.parametrize("names", [("row", "column"), ("atrous_row_00_step2", "window3")])
def test_a_table_first_asked_for_in_a_transform_serves_everybody(context, names):
    side = 41 + 2 * [inside_grad, inside_jvp, inside_fake_tensors].index(context)
    context(lambda: route_table(names, side, side))
    table = route_table(names, side, side)
    assert type(table) is torch.Tensor and table.untyped_storage().size() == 4 * table.numel()
    want = torch.full_like(table, -1)
    for row, name in zip(want, names):
        order = route(name, side, side)
        row[: len(order)] = order
    assert torch.equal(table, want)
