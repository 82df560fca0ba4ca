"""The table at the end of a run."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.markup import escape
from rich.table import Table

COCO_COLUMNS = {
    "mAP": "AP",
    "mAP_50": "AP50",
    "mAP_75": "AP75",
    "mAP_s": "AP small",
    "mAP_m": "AP medium",
    "mAP_l": "AP large",
}
MEANS = {
    "single-label/recall": "balanced accuracy",
    "accuracy/top1": "top-1",
    "accuracy/top5": "top-5",
}
"""What metrics of mmpretrain are called elsewhere."""
MOST_CLASSES, WORST = 40, 20
"""Classes up to which all are shown, and how many are of more."""
COCO_ROWS = {"bbox": "box", "segm": "mask"}
# With or without the metric's prefix: `coco/bbox_mAP_50`, `segm_mAP`.
COCO_KEY = re.compile(r"^(?:\w+/)?(?P<row>bbox|segm)_(?P<column>mAP(?:_\w+)?)$")


class KeepMetrics(Hook):
    """Keeps the metrics of the last validation, so that training can end with a table of them."""

    metrics: dict | None = None

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self.metrics = metrics


def print_summary(metrics: dict, title: str, expected: dict | None = None) -> None:
    """Print a table of metrics on the main process.

    Args:
        expected: the config's claim, shown beside them.
    """
    if not is_main_process() or not metrics:
        return
    console = Console(width=100)
    coco = {}
    for key, value in metrics.items():
        match = COCO_KEY.match(key)
        # NaN, which is not itself, has no place in a table.
        if match and value == value:
            coco[key] = match
    if coco:
        console.print(_coco_table(metrics, coco, title))
    rest = {}
    for key, value in metrics.items():
        if key not in coco and isinstance(value, (int, float)):
            rest[key] = value
    if rest:
        table = Table("metric", "value", title=None if coco else title, title_justify="left")
        for key, value in rest.items():
            means = f" ({MEANS[key]}, %)" if key in MEANS else ""
            table.add_row(f"{key}{means}", f"{value:.4g}")
        console.print(table)
    if expected:
        console.print(_compare(metrics, expected))


def print_classes(matrix: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Print the accuracy of each class on the main process.

    Args:
        matrix: of images (C, C), rows labelled, columns predicted.

    Returns:
        Percents by class, without classes that have no image.
    """
    totals = matrix.sum(axis=1)
    percents = {n: 100 * r / t for n, r, t in zip(names, matrix.diagonal(), totals) if t}
    shown = sorted(percents, key=percents.__getitem__)[:WORST]
    few = len(percents) <= MOST_CLASSES
    title = "" if few else f"The {WORST} classes of the lowest accuracy, of {len(percents)}"
    table = Table("class", title=title or None, title_justify="left")
    for column in ("accuracy, %", "images", "mostly taken for"):
        table.add_column(column, justify="left" if column[0] == "m" else "right")
    for label, name in enumerate(names):
        if name in percents and (few or name in shown):
            others = matrix[label].copy()
            others[label] = 0
            other = int(others.argmax())
            wrong = f"{names[other]} ({others[other]})" if others[other] else ""
            table.add_row(escape(name), f"{percents[name]:.1f}", str(totals[label]), escape(wrong))
    Console(width=100).print(table)
    return percents


def _coco_table(metrics: dict, coco: dict[str, re.Match], title: str) -> Table:
    """A row for boxes and one for masks."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in COCO_COLUMNS.values():
        table.add_column(name, justify="right")
    for row, label in COCO_ROWS.items():
        cells = {m["column"]: metrics[key] for key, m in coco.items() if m["row"] == row}
        if cells:
            values = [_coco_cell(cells.get(column)) for column in COCO_COLUMNS]
            table.add_row(label, *values)
    return table


def _coco_cell(value: float | None) -> str:
    """COCO gives -1 where no object of that size exists."""
    return "–" if value is None or value < 0 else f"{value:.3f}"


def _compare(metrics: dict, expected: dict) -> str:
    """Measured against what the config claims."""
    parts = []
    for key, value in expected["metrics"].items():
        if key in metrics:
            difference = metrics[key] - value
            parts.append(f"{key} {metrics[key]:.4g} against {value:.4g} ({difference:+.2g})")
    verified = expected.get("verified")
    standing = "reproduced here" if verified else "published, not reproduced here yet"
    source = expected.get("source", "no source given")
    return f"Expected ({standing}; {source}): {'; '.join(parts) or 'not measured'}"
