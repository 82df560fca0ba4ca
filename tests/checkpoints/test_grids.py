"""Position tables are resized as maps, and the class token's row keeps its place."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmmamba.checkpoints import CheckpointError, PositionGrid

C = 5


def table(side, class_place=None):
    """Rows that count the cells, and a class row of -1."""
    rows = torch.arange(float(side * side))[:, None].expand(-1, C).clone()
    if class_place is not None:
        rows = torch.cat([rows[:class_place], torch.full((1, C), -1.0), rows[class_place:]])
    return rows[None]


def resized(side, height, width):
    grid = torch.arange(float(side * side)).reshape(1, 1, side, side)
    return (
        F.interpolate(grid, (height, width), mode="bicubic", align_corners=False)
        .reshape(-1, 1)
        .expand(-1, C)
    )


def test_no_class_token():
    assert torch.equal(
        PositionGrid()(table(4), torch.zeros(1, 36, C), nn.Module())[0], resized(4, 6, 6)
    )


def test_a_table_without_batch_axis():
    assert PositionGrid()(table(4)[0], torch.zeros(36, C), nn.Module()).shape == (36, C)


@pytest.mark.parametrize("where, old, new", [("first", 0, 0), ("middle", 8, 18)])
def test_the_class_row_keeps_its_place(where, old, new):
    out = PositionGrid(where)(table(4, old), torch.zeros(1, 37, C), nn.Module())[0]
    assert out[new].eq(-1).all()
    assert torch.equal(torch.cat([out[:new], out[new + 1 :]]), resized(4, 6, 6))


def test_the_class_row_is_dropped_where_there_is_no_class_token():
    out = PositionGrid("middle")(table(4, 8), torch.zeros(1, 16, C), nn.Module())
    assert torch.equal(out, table(4))


def test_grid_of_the_module_need_not_be_square():
    module = nn.Module()
    module.patch_embed = nn.Module()
    module.patch_embed.grid_size = (3, 5)
    out = PositionGrid("first", "patch_embed.grid_size")(table(4), torch.zeros(1, 15, C), module)
    assert torch.equal(out[0], resized(4, 3, 5))


def test_half_precision_stays():
    assert (
        PositionGrid()(table(4).half(), torch.zeros(1, 36, C), nn.Module()).dtype == torch.float16
    )


@pytest.mark.parametrize(
    "grid, file, wanted, message",
    [
        (
            PositionGrid(),
            torch.zeros(1, 12, C),
            torch.zeros(1, 16, C),
            "12 rows are no square grid",
        ),
        (PositionGrid("first"), table(4), torch.zeros(1, 37, C), "no row for it"),
        (PositionGrid(), table(4), torch.zeros(1, 36, C + 1), "only rows may differ"),
        (PositionGrid(), table(4), torch.zeros(1, 35, C), "35 rows do not fit its grid of 5x5"),
    ],
)
def test_what_cannot_be_resized(grid, file, wanted, message):
    with pytest.raises(CheckpointError, match=message):
        grid(file, wanted, nn.Module())
