"""A kernel found again by `launch` is one that was compiled for any size."""

import pytest
import torch

triton = pytest.importorskip("triton")

from mmmamba.ops.launch import launch  # noqa: F401


@triton.jit(do_not_specialize=["rows"])
def of_any_rows(x, rows, width, C: triton.language.constexpr):
    pass


def test_a_kernel_specialised_on_a_size_is_refused():
    with pytest.raises(
        TypeError, match="of_any_rows is specialised on width, .* do_not_specialize"
    ):
        launch(of_any_rows, 1, (torch.zeros(1),), (3, 4), C=2)
