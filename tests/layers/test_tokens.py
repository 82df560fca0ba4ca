"""Extra tokens among the cells of a map, and positions for any map."""

import pytest
import torch

from mmmamba.layers import RegisterEmbedding, TokenEmbedding, TokenLayout, resize_cells
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


def test_a_sequence_without_positions():
    embedding = TokenEmbedding(4, (3, 5), "middle", positions=False)
    cells = torch.randn(2, 2, 6, 4)
    sequence, layout = embedding(cells)
    assert list(embedding.state_dict()) == ["cls_token"]
    assert torch.equal(
        sequence, layout.insert(cells.flatten(1, 2), embedding.cls_token.expand(2, -1, -1))
    )


@pytest.mark.parametrize(
    "size, registers, first, distance",
    [((14, 14), 12, 15, 16), ((14, 14), 16, 11, 12), ((8, 8), 12, 4, 5), ((1, 2), 4, 0, 1)],
)
def test_registers_stand_at_equal_distances(size, registers, first, distance):
    embedding = RegisterEmbedding(4, size, registers)
    sequence, layout = embedding(torch.zeros(2, *size, 4))
    assert layout.places == tuple(range(first, first + registers * distance, distance))
    cells, extra = layout.cut(sequence)
    torch.testing.assert_close(cells[1], embedding.pos_embed[0])
    torch.testing.assert_close(extra[1], (embedding.cls_token + embedding.pos_embed_cls)[0])


def test_gradients_of_many_extra_tokens_come_in_one_pass():
    """A slice for each would have as many sequences of zeros added up."""
    embedding = RegisterEmbedding(4, (3, 5), 3)
    x = torch.randn(2, 3, 5, 4, requires_grad=True)
    sequence, layout = embedding(x)
    seen, todo = set(), [t.grad_fn for t in layout.cut(sequence)]
    while todo:
        node = todo.pop()
        seen.add(node.name())
        todo += [after for after, _ in node.next_functions if after]
    assert {"CatBackward0", "SplitWithSizesBackward0"} <= seen and "SliceBackward0" not in seen


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
