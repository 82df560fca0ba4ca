"""A kernel found again by `launch` is one that was compiled for any size."""

import pytest
import torch

triton = pytest.importorskip("triton")

from mmmamba.ops.launch import launch


@triton.jit(do_not_specialize=["rows"])
def of_any_rows(x, rows, width, C: triton.language.constexpr):
    pass


def test_a_kernel_specialised_on_a_size_is_refused():
    with pytest.raises(
        TypeError, match="of_any_rows is specialised on width, .* do_not_specialize"
    ):
        launch(of_any_rows, 1, dict(x=torch.zeros(1)), dict(rows=3, width=4), C=2)


def test_names_that_are_not_the_kernels_are_refused():
    with pytest.raises(TypeError, match="of_any_rows is given lines, width, wanted rows, width"):
        launch(of_any_rows, 1, dict(x=torch.zeros(1)), dict(lines=3, width=4), C=2)
