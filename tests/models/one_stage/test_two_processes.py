"""In two processes losses are divided by the mean over both, as mmdet divides them."""

from __future__ import annotations

import pytest


def test_losses(two_processes: list[dict]) -> None:
    ranks = [found["losses"] for found in two_processes]
    for name in ("rtmdet_pafpn", "yolox_pafpn"):
        for found in ranks:
            assert found[f"{name} ours"] == pytest.approx(found[f"{name} theirs"], rel=1e-5)
        assert ranks[0][f"{name} ours"]["loss_bbox"] == 0 < ranks[1][f"{name} ours"]["loss_bbox"]
