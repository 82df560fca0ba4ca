"""Choosing boxes for all images at once (`select_boxes`) beside mmcv's `batched_nms` image by image: equality, then ms.

    python benchmarks/box_selection_gpu.py

Maps of `YOLODFLHead` at 640 x 640 with 80 classes: `noise`, as of an untrained head, and `objects`, clusters of
agreeing cells about 20 objects an image. They are shifted so that about as many scores as the table says exceed 0.001.
The boxes, scores, labels and their order must be equal; exit code 1 where they are not. Without a GPU: smaller batches.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from rich.console import Console
from rich.table import Table
from short_runs import DEVICE
from torch import Tensor
from training_step_gpu import now

from mmcv.ops import batched_nms  # isort: skip  (ours, by short_runs)
from mmdet.models.utils import filter_scores_and_topk  # isort: skip
from mmmamba.models.yolo.box_selection import select_boxes

SIDE, CLASSES, OBJECTS = 640, 80, 20
CASES = [("noise", 1000), ("objects", 1000), ("objects", 3), ("noise", 12000)]


def one_by_one(scores_BPC: Tensor, boxes_BP4: Tensor, cfg: ConfigDict) -> list[InstanceData]:
    results = []
    for scores_PC, boxes_P4 in zip(scores_BPC, boxes_BP4):
        scores, labels, _, kept = filter_scores_and_topk(
            scores_PC, cfg.score_thr, cfg.nms_pre, dict(boxes=boxes_P4)
        )
        found = InstanceData(scores=scores, labels=labels, bboxes=kept["boxes"])
        if len(found):
            found = found[
                batched_nms(found.bboxes.float(), scores.float(), labels, cfg.nms)[1][
                    : cfg.max_per_img
                ]
            ]
        results.append(found)
    return results


def maps(batch: int, kind: str, candidates: int) -> tuple[list[Tensor], list[Tensor]]:
    """Logits and bins of distances of three levels."""
    generator = torch.Generator().manual_seed(0)
    centre_BO2 = SIDE * torch.rand(batch, OBJECTS, 2, generator=generator)
    side_BO2 = 30 + 120 * torch.rand(batch, OBJECTS, 2, generator=generator)
    class_BO = torch.randint(CLASSES, (batch, OBJECTS), generator=generator)
    logits, bins = [], []
    for stride in (8, 16, 32):
        n = SIDE // stride
        logits.append(1.5 * torch.randn(batch, CLASSES, n, n, generator=generator))
        bins.append(torch.randn(batch, 4, 16, n, n, generator=generator))
        if kind == "noise":
            continue
        logits[-1] -= 4
        y, x = torch.meshgrid(*[(torch.arange(n) + 0.5) * stride] * 2, indexing="ij")
        for b in range(batch):
            for (cx, cy), (w, h), c in zip(
                centre_BO2[b].tolist(), side_BO2[b].tolist(), class_BO[b].tolist()
            ):
                near = torch.exp(-(((x - cx) / (0.4 * w)) ** 2) - ((y - cy) / (0.4 * h)) ** 2)
                logits[-1][b, c] += 10 * near
                for edge, distance in enumerate(
                    (x - cx + w / 2, y - cy + h / 2, cx + w / 2 - x, cy + h / 2 - y)
                ):
                    peak = (distance / stride).clamp(0, 14.99)
                    bins[-1][b, edge] -= 6 * near * (torch.arange(16)[:, None, None] - peak).abs()
    flat = torch.cat([each.flatten() for each in logits])
    shift = (
        torch.logit(torch.tensor(0.001))
        - flat.kthvalue(max(flat.numel() - candidates * batch, 1)).values
    )
    return [(each + shift).to(DEVICE) for each in logits], [
        each.flatten(1, 2).to(DEVICE) for each in bins
    ]


def milliseconds(run: Callable[[], object]) -> float:
    times = []
    for _ in range(13):
        start = now()
        run()
        times.append(1e3 * (now() - start))
    return statistics.median(times[3:])


def equal(got: list[InstanceData], want: list[InstanceData]) -> bool:
    return all(
        torch.equal(a[key], b[key])
        for a, b in zip(got, want, strict=True)
        for key in ("bboxes", "scores", "labels")
    )


@torch.inference_mode()
def main() -> int:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    init_default_scope("mmdet")
    head = MODELS.build(
        dict(type="YOLODFLHead", num_classes=CLASSES, in_channels=[64, 128, 256])
    ).to(DEVICE)
    cfg = ConfigDict(
        score_thr=0.001, nms_pre=30000, nms=dict(type="nms", iou_threshold=0.7), max_per_img=300
    )
    machine = torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU"
    table = Table(
        "batch",
        "scores",
        "candidates an image",
        "kept",
        "equal",
        "at once, ms",
        "image by image, ms",
        title=f"{machine}, torch {torch.__version__}, {SIDE} x {SIDE}",
    )
    unequal = False
    for batch in (1, 32) if DEVICE == "cuda" else (1, 2):
        for kind, candidates in CASES:
            decoded = head.decode(*maps(batch, kind, candidates))
            scores, boxes = decoded[0].sigmoid(), decoded[2]
            ways = (
                partial(select_boxes, scores, boxes, [], cfg),
                partial(one_by_one, scores, boxes, cfg),
            )
            got, want = (way() for way in ways)
            same = equal(got, want)
            unequal |= not same
            table.add_row(
                str(batch),
                kind,
                str(candidates),
                f"{sum(map(len, got)) / batch:.0f}",
                "yes" if same else "NO",
                *(f"{milliseconds(way):.2f}" for way in ways),
            )
    Console(width=110).print(table)
    return int(unequal)


if __name__ == "__main__":
    raise SystemExit(main())
