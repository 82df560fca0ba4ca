"""The tables in docs/: the file that each comes from, and how its cells are written.

What a run measured is in the file; `tables.py` writes the pages.
"""

from __future__ import annotations

from cells import (
    Page,
    Row,
    Source,
    as_wanted,
    default_ms,
    digits,
    digits_of,
    formats,
    joined,
    model,
    number,
    percent,
    pixel,
    scale,
    scan_case,
    short,
    side_by_side,
    text,
    with_spread,
)
from export_pages import EXPORTS
from learn_pages import LEARNING
from many_gpus_pages import MANY_GPUS
from peers import PEERS


def by_family(rows: list[Row]) -> list[Row]:
    """A row a model, classifier and detector side by side, smallest first, families by name.

    What is not ours stands at the end.
    """
    made: dict[str, Row] = {}
    for row in rows:
        # The classifier comes first: its parameters are those that authors print.
        one = made.setdefault(row["model"], dict(row))
        for value in ("inference", "training", "training_gib"):
            one[f"{value}@{row['case']}"] = row[value]
    return sorted(
        made.values(), key=lambda row: (row["model"] in PEERS, row["family"], row["parameters"])
    )


def beside_originals(rows: list[Row]) -> list[Row]:
    """Beside each row what its authors' code takes, where that was measured."""
    theirs = {row["name"]: row for row in DEFAULT_ORIGINALS.rows()}
    return [row | dict(original=theirs.get(row["name"], {})) for row in rows]


def ours_alone(rows: list[Row]) -> list[Row]:
    """Rows that graphs are put into, of those that did not fail."""
    return [row for row in rows if row["ours"] and "failed" not in row]


ORIGINALS = Source("backbones_originals", "ratios")
DEFAULT_ORIGINALS = Source("defaults_originals", "rows")
DEFAULTS = Source("defaults_gpu", "rows")

TABLES = {
    "defaults": Page(
        DEFAULTS,
        {
            "images, what is done": text("what"),
            "model": text("model"),
            "ms": default_ms,
            "GPU works": number("gpu", ".2f"),
            "without graphs": lambda row: digits(row.get("eager_files", row.get("eager_ms"))),
            "times its peer": number("times", ".2f", " x"),
            "authors' code: ms, GPU": lambda row: joined(digits_of("ms"), digits_of("gpu"))(
                row["original"]
            ),
            "as wanted": as_wanted,
            "row": lambda row: f"`{row['name']}`",
        },
        repeats=("images, what is done",),
        bold=lambda row, heading: row["ours"] and heading == "ms",
        arrange=beside_originals,
    ),
    "defaults_cost": Page(
        DEFAULTS,
        {
            "row": lambda row: f"`{row['name']}`",
            "results with graphs": text("equal"),
            "kernels, launches": joined(number("kernels"), number("launches")),
            "launches without": number("eager_launches"),
            "GiB, without": joined(number("gib", ".2f"), number("eager_gib", ".2f")),
            "more memory": number("memory", ".0f", " %"),
            "later by": number("later", ".1f", " s"),
        },
        arrange=ours_alone,
    ),
    "originals": Page(
        ORIGINALS,
        {
            "input": text("input"),
            "model": model(),
            "inference": number("inference", ".1f", " x"),
            "training": number("training", ".1f", " x"),
            "GiB of theirs": number("gib", ".1f"),
        },
        repeats=("input",),
        # Where the authors' code is the faster one.
        bold=lambda row, heading: heading == "training" and row.get("training", 1) < 1,
    ),
    "choose": Page(
        Source("backbones_gpu", "speed"),
        {
            "family": text("family"),
            "variant": lambda row: f"`{row['model']}`",
            "top-1": number("top1", ".1f"),
            "box AP": number("box_ap", ".1f"),
            "mask AP": number("mask_ap", ".1f"),
            "million weights": number("parameters", ".1f"),
            "side": lambda row: str(row["input"][1]),
            "predict": number("inference@classifier"),
            "train": number("training@classifier"),
            "GiB": number("training_gib@classifier", ".1f"),
            "predict 800": number("inference@detector"),
            "train 800": number("training@detector"),
            "GiB 800": number("training_gib@detector", ".1f"),
        },
        repeats=("family",),
        arrange=by_family,
    ),
    "training_step": Page(
        Source("training_step_gpu", "speed"),
        {
            "run": text("run"),
            "ms a step": number("ms"),
            "times as fast": number("times", ".2f"),
            "GPU works, ms": number("busy"),
            "GiB": number("gib", ".1f"),
            "files to batches, img/s": number("to_batches"),
            "files to step, img/s": number("to_step"),
        },
        bold=lambda row, heading: (
            row["run"].startswith("ours") and heading in ("ms a step", "times as fast")
        ),
    ),
    "vim": Page(
        Source("vim_gpu", "inference"),
        {
            "precision": text("precision"),
            "model": text("model"),
            "ms": number("ms", ".1f"),
            "GiB": number("gib", ".2f"),
            "plain / this": number("times", ".2f"),
            "memory saved": lambda row: percent("saved", ".1f")(row) if row["saved"] else "",
        },
        repeats=("precision",),
        # What the paper's figures are reached by.
        bold=lambda row, heading: (
            row["model"] == "Vim-T"
            and row["precision"] == "autocast"
            and heading in ("plain / this", "memory saved")
        ),
    ),
    "pixels": Page(
        Source("pixels_gpu", "pixels"),
        {
            "model": model(),
            "64 x 512²": pixel(512),
            "16 x 1024²": pixel(1024),
            "4 x 2048²": pixel(2048),
            "1 x 4096²": pixel(4096),
            "largest / smallest": number("spread", ".2f"),
        },
        arrange=with_spread,
    ),
    "scan_gpu": Page(
        Source("selective_scan_gpu", "scan"),
        {
            "batch, channels, steps, states": scan_case,
            "bound": joined(
                number("bound_forward", ".2f"), number("bound_backward", ".2f"), by=" / "
            ),
            "mamba-ssm": joined(
                number("peer_forward", ".2f"), number("peer_backward", ".2f"), by=" / "
            ),
            "ours": joined(number("forward", ".2f"), number("backward", ".2f"), by=" / "),
        },
    ),
    "scan_cpu": Page(
        Source("selective_scan_cpu", "scan"),
        {
            "map, states": lambda row: f"{row['map'].replace('x', ' x ')}, {row['d_state']}",
            "pass": text("what"),
            "ours": short("ours"),
            "`torch`": short("torch"),
            "reference": short("scan"),
            "reference / ours": number("scan_by_ours"),
        },
        repeats=("map, states",),
    ),
    "backbones_cpu": Page(
        Source("backbones_cpu", "speed"),
        {
            "pixels a side": number("size"),
            "what": text("what"),
            "model": model(),
            "ms": number("ms", ".0f"),
            "of Swin-T's time": number("by_swin", ".2f"),
        },
        repeats=("pixels a side", "what"),
    ),
    "pretraining": Page(
        Source("pretraining", "detectors"),
        {
            "backbone": lambda row: model()(dict(model=row["backbone"])),
            "AP from random weights": number("coco/bbox_mAP@random", ".3f"),
            "AP from the classifier's": number("coco/bbox_mAP@crops", ".3f"),
            "AP50 from random weights": number("coco/bbox_mAP_50@random", ".3f"),
            "AP50 from the classifier's": number("coco/bbox_mAP_50@crops", ".3f"),
        },
        arrange=side_by_side("backbone", by="start", values=("coco/bbox_mAP", "coco/bbox_mAP_50")),
    ),
    "distilling": Page(
        Source("distilling", "students"),
        {
            "seed": number("seed"),
            "without a teacher": number("alone", ".1f"),
            "with": number("taught", ".1f"),
            "the teacher's own": number("teacher", ".1f"),
        },
    ),
    "distil_cost": Page(
        Source("distill_gpu", "steps"),
        {
            "step": text("run"),
            "ms": number("ms", ".1f"),
            "times as long": number("times", ".2f"),
            "times as many multiply-adds": number("times_macs", ".2f"),
        },
    ),
    "map_format": Page(
        Source("map_format_gpu", "formats"),
        {
            "config, images": lambda row: f"`{row['config']}`, {text('size')(row)}",
            "training step": formats("step_gpu"),
            "prediction of one image": formats("predict_gpu"),
        },
        arrange=side_by_side("config", "size", by="format", values=("step_gpu", "predict_gpu")),
    ),
    "yolo": Page(
        Source("yolo_gpu", "square"),
        {
            "model": model(),
            "form": text("form"),
            "batch 1: maps, boxes": joined(number("to_maps@1", ".1f"), number("to_boxes@1", ".1f")),
            "batch 32: maps, boxes": joined(
                number("to_maps@32", ".1f"), number("to_boxes@32", ".1f")
            ),
            "img/s to boxes": number("images@32"),
            "GiB at 32": number("gib@32", ".2f"),
        },
        repeats=("model",),
        arrange=side_by_side(
            "model", "form", by="batch", values=("to_maps", "to_boxes", "images", "gib")
        ),
    ),
    "box_selection": Page(
        Source("box_selection_gpu", "boxes"),
        {
            "milliseconds on an H200": text("batch", "batch "),
            "candidates an image": number("candidates", ","),
            "image by image": short("one_by_one"),
            "at once": short("at_once"),
        },
        repeats=("milliseconds on an H200",),
    ),
    "yolo_large": Page(
        Source("yolo_gpu_large", "large"),
        {
            "model": model(),
            "736 x 1280": joined(number("ms@736 x 1280", ".1f"), number("gib@736 x 1280", ".2f")),
            "4096 x 4096": joined(
                number("ms@4096 x 4096", ".1f"), number("gib@4096 x 4096", ".2f")
            ),
            "the same in tiles": joined(
                number("ms@in tiles of 1024", ".1f"), number("gib@in tiles of 1024", ".2f")
            ),
        },
        arrange=side_by_side("model", by="image", values=("ms", "gib")),
    ),
    "with_cp": Page(
        Source("with_cp_gpu", "backbones"),
        {
            "backbone": model("backbone"),
            "images": text("images"),
            "MiB": number("mib"),
            "with it": number("mib_cp"),
            "saved": percent("saved"),
            "times as long": number("times", ".2f"),
        },
        repeats=("images",),
    ),
    "endurance": Page(
        Source("endurance_gpu", "quarters"),
        {
            "quarter": number("quarter"),
            "loss": number("loss", ".2f"),
            "ms a step": number("ms a step", ".1f"),
            "MiB between steps, at the peak, reserved": joined(
                number("MiB between steps"), number("MiB at the peak"), number("MiB reserved")
            ),
            "process MiB": number("process MiB"),
            "kernels compiled": number("compiled so far"),
            "sizes": number("sizes so far"),
        },
    ),
    "precision_ap": Page(
        Source("precision_ap", "precision"),
        {
            "the network in": text("name"),
            "box AP": number("bbox_mAP", ".1f"),
            "mask AP": number("segm_mAP", ".1f"),
        },
    ),
    "half_precision": Page(
        Source("half_precision_gpu", "runs"),
        {
            "family": text("config"),
            "left out before the first step": text("before_the_first"),
            "later": text("later"),
            "last loss scale": scale,
        },
        # In bfloat16 there is no scale, and no step is left out.
        arrange=lambda rows: [row for row in rows if row["dtype"] == "float16"],
    ),
    "segmentors_gpu": Page(
        Source("segmentors_gpu", "speed"),
        {
            "images": lambda row: " x ".join(map(str, [row["input"][0], *row["input"][2:]])),
            "segmentor": lambda row: row["model"].replace("_", "-"),
            "million parameters": number("parameters", ".1f"),
            "images a second": number("inference"),
            "ms; GPU works": joined(number("inference_ms", ".1f"), number("inference_gpu", ".1f")),
            "forward + backward": number("training"),
            "ms; GPU works, training": joined(
                number("training_ms", ".1f"), number("training_gpu", ".1f")
            ),
            "GiB": number("training_gib", ".1f"),
        },
        repeats=("images",),
    ),
    **EXPORTS,
    **LEARNING,
    **MANY_GPUS,
}
