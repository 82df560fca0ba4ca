"""The best of many scores."""

import pytest
import torch

from mmmamba.ops.best import FEW, best


@pytest.mark.parametrize("number", [1, 7, 90, 100 * FEW])
def test_of_equal_ones_the_first_comes_first(number):
    torch.manual_seed(0)
    scores = torch.randint(-3, 40, (2, 3, 100 * FEW)).float()
    values, places = best(scores, number)
    wanted, order = scores.sort(dim=-1, descending=True, stable=True)
    assert torch.equal(values, wanted[..., :number]) and torch.equal(places, order[..., :number])


def test_all_equal():
    values, places = best(torch.zeros(1, 10 * FEW), 3)
    assert not values.any() and places.tolist() == [[0, 1, 2]]
