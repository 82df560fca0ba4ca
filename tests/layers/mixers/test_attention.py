"""Attention in half precision never meets a kernel for float32."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmmamba.layers.mixers.attention import Attention
from mmmamba.models.backbones import MambaVision


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """Dtypes of the queries, keys and values that reach PyTorch's kernels, before its autocast."""
    found: list[torch.dtype] = []
    attend = F.scaled_dot_product_attention

    def spy(*qkv: torch.Tensor) -> torch.Tensor:
        found.extend(x.dtype for x in qkv)
        return attend(*qkv)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    return found


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_under_autocast(dtype: torch.dtype, reached: list[torch.dtype]) -> None:
    layer, x = Attention(8, 2), torch.randn(1, 6, 8)
    with torch.no_grad(), torch.autocast("cpu", dtype):
        # LayerNorm may leave float32 behind it.
        assert layer(x).dtype == dtype
    assert reached == [dtype] * 3


def test_float32_stays_float32(reached: list[torch.dtype]) -> None:
    Attention(8, 2)(torch.randn(1, 6, 8))
    assert reached == [torch.float32] * 3


@pytest.mark.parametrize("train", [False, True])
def test_in_mambavision(train: bool, reached: list[torch.dtype]) -> None:
    model = MambaVision(**MambaVision.TINY).train(train)
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.randn(2, 3, 64, 64))
    # Of stages 2 and 3 one block each attends.
    assert reached == [torch.bfloat16] * 6
