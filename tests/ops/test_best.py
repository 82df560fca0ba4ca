"""The best of many scores, of equal ones the first, however they are looked for."""

import pytest
import torch

from mmmamba.ops.best import FEW, best

ROWS = 3


@pytest.mark.parametrize("number", [1, 5, 40, 40 * FEW])
@pytest.mark.parametrize("extra", [None, torch.nan, torch.inf])
def test_ties_and_what_is_no_number(number, extra):
    """Few of many take another way on a CPU than all."""
    generator = torch.Generator().manual_seed(0)
    scores = (torch.rand(ROWS, 2, 40 * FEW, generator=generator) * 20).round() / 20
    if extra is not None:
        scores[0, 0, 7::11] = extra
    values, places = scores.sort(dim=-1, descending=True, stable=True)
    found = best(scores, number)
    assert found[1].equal(places[..., :number])
    torch.testing.assert_close(found[0], values[..., :number], rtol=0, atol=0, equal_nan=True)
