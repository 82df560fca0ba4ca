"""The table at the end of a run."""

from __future__ import annotations

import re

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

COCO_COLUMNS = {
    "mAP": "AP",
    "mAP_50": "AP50",
    "mAP_75": "AP75",
    "mAP_s": "AP small",
    "mAP_m": "AP medium",
    "mAP_l": "AP large",
}
COCO_ROWS = {"bbox": "box", "segm": "mask"}
COCO_KEY = re.compile(r"^(?:\w+/)?(?P<row>bbox|segm)_(?P<column>mAP(?:_\w+)?)$")


class KeepMetrics(Hook):
    """Keeps the metrics of the last validation, so that training can end with a table of them."""

    metrics: dict | None = None

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self.metrics = metrics


def print_summary(metrics: dict, title: str, expected: dict | None = None) -> None:
    """Print a table of metrics on the main process; ``expected`` is the config's claim, shown beside them."""
    if not is_main_process() or not metrics:
        return
    console = Console(width=100)
    coco = {
        key: match
        for key in metrics
        if (match := COCO_KEY.match(key)) and metrics[key] == metrics[key]
    }
    if coco:
        table = Table(title=title, title_justify="left")
        table.add_column("")
        for name in COCO_COLUMNS.values():
            table.add_column(name, justify="right")
        for row, label in COCO_ROWS.items():
            cells = {m["column"]: metrics[key] for key, m in coco.items() if m["row"] == row}
            if cells:
                table.add_row(label, *(_coco_cell(cells.get(column)) for column in COCO_COLUMNS))
        console.print(table)
    rest = {
        key: value
        for key, value in metrics.items()
        if key not in coco and isinstance(value, (int, float))
    }
    if rest:
        table = Table("metric", "value", title=None if coco else title, title_justify="left")
        for key, value in rest.items():
            table.add_row(key, f"{value:.4g}")
        console.print(table)
    if expected:
        console.print(_compare(metrics, expected))


def _coco_cell(value: float | None) -> str:
    """COCO gives -1 where no object of that size exists."""
    return "–" if value is None or value < 0 else f"{value:.3f}"


def _compare(metrics: dict, expected: dict) -> str:
    """Measured against what the config claims."""
    parts = [
        f"{key} {metrics[key]:.4g} against {value:.4g} ({metrics[key] - value:+.2g})"
        for key, value in expected["metrics"].items()
        if key in metrics
    ]
    standing = (
        "reproduced here" if expected.get("verified") else "published, not reproduced here yet"
    )
    return f"Expected ({standing}; {expected.get('source', 'no source given')}): {'; '.join(parts) or 'not measured'}"
