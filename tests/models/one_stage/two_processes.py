"""What each of two processes finds for test_two_processes.py.

Losses of our heads and of mmdet's where another process has other boxes, or none.
"""

from __future__ import annotations

import mmmamba.detection  # noqa: F401  before mmdet
from tests.models.one_stage.cases import CLASSES, build_head, draw_maps, draw_truth, run_loss

HEADS = {
    "rtmdet_pafpn": ("RTMDetSepBNHead", [CLASSES, 4]),
    "yolox_pafpn": ("YOLOXHead", [CLASSES, 4, 1]),
}


def find(rank: int) -> dict[str, dict[str, float]]:
    found = {}
    for name, (theirs, channels) in HEADS.items():
        scores, boxes, *objects = draw_maps(channels, 2, seed=rank)
        boxes = [25 + 15 * level if name == "rtmdet_pafpn" else level for level in boxes]
        truth = draw_truth([9, 4] if rank else [0, 0], seed=2)
        for kind in (None, theirs):
            result = run_loss(build_head(name, kind), [scores, boxes, *objects], truth)
            losses = {key: loss.item() for key, loss in result.losses.items()}
            losses["gradient"] = float(result.gradients[0].abs().sum())
            found[f"{name} {'theirs' if kind else 'ours'}"] = losses
    return found
