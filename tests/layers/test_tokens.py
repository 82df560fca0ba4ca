"""Extra tokens among the cells of a map, and positions for any map."""

import pytest
import torch

from mmmamba.layers import TokenEmbedding, TokenLayout, resize_cells
from mmmamba.layers.tokens import resize_positions


@pytest.mark.parametrize("places", [(), (0,), (3,), (6,), (1, 4, 7), (0, 1, 8)])
def test_cut_undoes_insert(places):
    layout = TokenLayout(2, 3, places)
    cells, extra = torch.randn(2, 6, 4), torch.randn(2, len(places), 4)
    sequence = layout.insert(cells, extra)
    assert sequence.shape == (2, 6 + len(places), 4)
    for k, place in enumerate(places):
        assert torch.equal(sequence[:, place], extra[:, k])
    back = layout.cut(sequence)
    assert torch.equal(back[0], cells) and torch.equal(back[1], extra)


@pytest.mark.parametrize("cls_token, place", [("head", 0), ("middle", 7)])
def test_the_class_token_has_its_place_and_its_position(cls_token, place):
    embedding = TokenEmbedding(4, (3, 5), cls_token)
    sequence, layout = embedding(torch.zeros(2, 3, 5, 4))
    assert layout == TokenLayout(3, 5, (place,))
    torch.testing.assert_close(
        sequence[1, place], embedding.cls_token[0, 0] + embedding.pos_embed[0, place]
    )
    torch.testing.assert_close(layout.cut(sequence)[0][0], layout.cut(embedding.pos_embed)[0][0])


def test_resized_positions_are_the_same_picture():
    rows = torch.linspace(0, 1, 8)[:, None].expand(8, 8).reshape(1, 64, 1)
    old, new = TokenLayout(8, 8, (32,)), TokenLayout(5, 11, (27,))
    table = resize_positions(old.insert(rows, torch.full((1, 1, 1), 9.0)), old, new)
    cells, extra = new.cut(table)
    assert extra.item() == 9.0
    grid = cells.view(5, 11)
    torch.testing.assert_close(grid, grid[:, :1].expand(-1, 11))
    assert (grid.diff(dim=0) > 0).all()


def test_half_tables_are_resized_in_full_precision():
    table = torch.rand(2, 12, 5).half()
    want = resize_cells(table.float(), (3, 4), (5, 7)).half()
    assert torch.equal(resize_cells(table, (3, 4), (5, 7)), want)
    assert resize_cells(table, (3, 4), (3, 4)) is table


def test_unknown_place():
    with pytest.raises(ValueError, match="'none', 'head', 'middle'"):
        TokenEmbedding(4, (2, 2), "tail")
