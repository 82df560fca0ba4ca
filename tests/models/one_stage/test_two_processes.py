"""In two processes losses are divided by the mean over both, as mmdet divides them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.torchrun import torchrun


def test_losses(tmp_path: Path) -> None:
    torchrun("tests/models/one_stage/two_processes.py", tmp_path)
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    for name in ("rtmdet_pafpn", "yolox_pafpn"):
        for found in ranks:
            assert found[f"{name} ours"] == pytest.approx(found[f"{name} theirs"], rel=1e-5)
        assert ranks[0][f"{name} ours"]["loss_bbox"] == 0 < ranks[1][f"{name} ours"]["loss_bbox"]
