"""The tables of docs/many_gpus.md, as those of `pages.py`."""

from __future__ import annotations

from cells import Page, Row, Source, number, text
from projection import projected

CASES = {
    "mask_rcnn, 2": "Mask R-CNN, VMamba-T, 2 images",
    "mask_rcnn, 4": "Mask R-CNN, VMamba-T, 4 images",
    "upernet, 4": "UperNet, MambaVision-B, 4 images",
}
STEPS = {"off": "MMEngine's", "auto": "`mmmamba train`", "auto, with waits": "graphs, with waits"}


def case(row: Row) -> str:
    return CASES[row["case"]]


def steps(row: Row) -> str:
    """Whose steps are measured."""
    return STEPS[row["graphs"]]


MANY_GPUS = {
    "scaling": Page(
        Source("scaling_gpu", "scaling"),
        {
            "a GPU": case,
            "steps": steps,
            "GPUs": number("gpus"),
            "images a second": number("speed", ".1f"),
            "efficiency": number("efficiency", ".3f"),
            "ms a step": number("ms", ".1f"),
            "alone": number("alone", ".1f"),
            "apart": number("apart", ".1f"),
            "in step": number("in_step", ".1f"),
            "NCCL": number("nccl", ".1f"),
            "GiB a GPU": number("gib", ".1f"),
        },
        repeats=("a GPU",),
        bold=lambda row, heading: heading == "efficiency" and row["graphs"] == "auto",
    ),
    "projection": Page(
        Source("scaling_gpu", "scaling"),
        {
            "a GPU": case,
            "GPUs": number("gpus"),
            "waiting, ms": number("waiting", ".1f"),
            "measured": number("waited", ".1f"),
            "exchange, ms": number("exchange", ".1f"),
            "ms a step": number("ms", ".1f"),
            "images a second": number("speed"),
            "efficiency": number("efficiency", ".2f"),
        },
        repeats=("a GPU",),
        arrange=projected,
    ),
    "fsdp_checks": Page(
        Source("fsdp_gpu", "checks"),
        {
            "model": text("case"),
            "GPUs": number("cards"),
            "FSDP and DDP": number("fsdp", ".1e"),
            "DDP and itself": number("ddp", ".1e"),
            "behind a checkpoint": number("resumed", ".1e"),
        },
        repeats=("model",),
    ),
    "fsdp": Page(
        Source("fsdp_gpu", "fsdp"),
        {
            "model": text("case"),
            "GPUs": number("cards"),
            "way": text("way"),
            "images a second": number("speed", ".1f"),
            "ms a step": number("ms", ".1f"),
            "GiB a GPU": number("gib", ".2f"),
            "between steps": number("kept", ".2f"),
        },
        repeats=("model",),
    ),
}
