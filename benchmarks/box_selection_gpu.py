"""Choosing boxes for all images at once beside mmcv's way image by image: equality, then ms.

    python benchmarks/box_selection_gpu.py

Maps of `YOLODFLHead` at 640 x 640 with 80 classes: `noise`, as of an untrained head, and `objects`,
clusters of agreeing cells about 20 objects an image. They are shifted so that about as many scores
as the table says exceed 0.001. The boxes, scores, labels and their order must be equal; exit code 1
where they are not. Without a GPU: smaller batches.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial

import torch
from common import DEVICE, Column, Table, now, parser, save, verdict
from torch import Tensor

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmdet: mmcv's operators)
from mmcv.ops import batched_nms
from mmdet.models.utils import filter_scores_and_topk
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData

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
            keep = batched_nms(found.bboxes.float(), scores.float(), labels, cfg.nms)[1]
            found = found[keep[: cfg.max_per_img]]
        results.append(found)
    return results


class Objects:
    """Boxes and classes of some objects an image, drawn at random."""

    def __init__(self, batch: int, generator: torch.Generator):
        self.centre_BO2 = SIDE * torch.rand(batch, OBJECTS, 2, generator=generator)
        self.side_BO2 = 30 + 120 * torch.rand(batch, OBJECTS, 2, generator=generator)
        self.class_BO = torch.randint(CLASSES, (batch, OBJECTS), generator=generator)

    def of_image(self, image: int) -> Iterator[tuple[list[float], list[float], int]]:
        """Centre, sides and class of each."""
        return zip(
            self.centre_BO2[image].tolist(),
            self.side_BO2[image].tolist(),
            self.class_BO[image].tolist(),
        )


def draw(objects: Objects, logits_BCHW: Tensor, bins_B4RHW: Tensor, stride: int) -> None:
    """Raise the classes of objects near their centres, and the bins of distances to their sides."""
    n = SIDE // stride
    centres = (torch.arange(n) + 0.5) * stride
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    for image, logits_CHW in enumerate(logits_BCHW):
        for (cx, cy), (w, h), label in objects.of_image(image):
            near = torch.exp(-(((x - cx) / (0.4 * w)) ** 2) - ((y - cy) / (0.4 * h)) ** 2)
            logits_CHW[label] += 10 * near
            distances = (x - cx + w / 2, y - cy + h / 2, cx + w / 2 - x, cy + h / 2 - y)
            for edge, distance in enumerate(distances):
                peak = (distance / stride).clamp(0, 14.99)
                off = (torch.arange(16)[:, None, None] - peak).abs()
                bins_B4RHW[image, edge] -= 6 * near * off


def maps(batch: int, kind: str, candidates: int) -> tuple[list[Tensor], list[Tensor]]:
    """Logits and bins of distances of three levels."""
    generator = torch.Generator().manual_seed(0)
    objects = Objects(batch, generator)
    logits, bins = [], []
    for stride in (8, 16, 32):
        n = SIDE // stride
        logits.append(1.5 * torch.randn(batch, CLASSES, n, n, generator=generator))
        bins.append(torch.randn(batch, 4, 16, n, n, generator=generator))
        if kind == "objects":
            logits[-1] -= 4
            draw(objects, logits[-1], bins[-1], stride)
    flat = torch.cat([each.flatten() for each in logits])
    last = flat.kthvalue(max(flat.numel() - candidates * batch, 1)).values
    shift = torch.logit(torch.tensor(0.001)) - last
    shifted = [(each + shift).to(DEVICE) for each in logits]
    return shifted, [each.flatten(1, 2).to(DEVICE) for each in bins]


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
    args = parser(__doc__).parse_args()
    init_default_scope("mmdet")
    head = dict(type="YOLODFLHead", num_classes=CLASSES, in_channels=[64, 128, 256])
    head = MODELS.build(head).to(DEVICE)
    cfg = ConfigDict(
        score_thr=0.001, nms_pre=30000, nms=dict(type="nms", iou_threshold=0.7), max_per_img=300
    )
    table = Table(
        "boxes",
        f"{SIDE} x {SIDE}, milliseconds",
        Column("batch", "batch"),
        Column("scores", "scores"),
        Column("candidates an image", "candidates"),
        Column("kept", "kept", ".0f"),
        Column("equal", "equal"),
        Column("at once, ms", "at_once", ".2f"),
        Column("image by image, ms", "one_by_one", ".2f"),
    )
    missed = []
    for batch in (1, 32) if DEVICE == "cuda" else (1, 2):
        for kind, candidates in CASES:
            decoded = head.decode(*maps(batch, kind, candidates))
            given = (decoded.logits_BPC.sigmoid(), decoded.boxes_BP4)
            ours = partial(select_boxes, *given, [], cfg)
            theirs = partial(one_by_one, *given, cfg)
            got = ours()
            same = equal(got, theirs())
            if not same:
                missed.append(f"batch {batch}, {kind}, {candidates} candidates: not equal")
            table.add(
                batch=batch,
                scores=kind,
                candidates=candidates,
                kept=sum(map(len, got)) / batch,
                equal=same,
                at_once=milliseconds(ours),
                one_by_one=milliseconds(theirs),
            )
    table.show()
    save(args.out, table)
    return verdict(missed, "all equal")


if __name__ == "__main__":
    raise SystemExit(main())
