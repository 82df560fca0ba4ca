"""Batch norms over several processes do not wait for the GPU, and compute the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mmmamba.engine.synced_norms import leave_counts_unread, read_counts

from ..torchrun import torchrun


def test_none_but_heads_of_regions_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        asked.append(torch.cuda.is_current_stream_capturing())
        return x

    monkeypatch.setattr(nn.SyncBatchNorm, "forward", forward)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    model = nn.ModuleDict(dict(neck=nn.SyncBatchNorm(1), roi_head=nn.SyncBatchNorm(1)))
    own = torch.cuda.is_current_stream_capturing
    norms = leave_counts_unread(model)
    assert norms == [model["neck"]]
    for name in ("neck", "roi_head"):
        model[name](torch.ones(1))
    read_counts(norms)
    model["neck"](torch.ones(1))
    assert asked == [True, False, False] and torch.cuda.is_current_stream_capturing is own


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_statistics_and_gradients_are_pytorchs() -> None:
    torchrun("tests/engine/synced_norms_run.py", gpus=True)
