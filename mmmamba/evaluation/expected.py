"""Does a run reproduce what its config expects?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from rich.console import Console
from rich.table import Table

from ..errors import UsageError
from ..suggest import did_you_mean
from .summary import COCO_KEY

TOLERANCE = 0.2
"""Points of AP, mIoU or accuracy: tables round to 0.1, and mmdet's COCO metrics to 0.001 of 1."""


@dataclass(frozen=True)
class Comparison:
    """One metric in points (percent)."""

    metric: str
    measured: float
    expected: float
    tolerance: float

    @property
    def difference(self) -> float:
        return self.measured - self.expected

    @property
    def passed(self) -> bool:
        """Within the tolerance on either side; the slack is for figures such as 47.5 - 47.3."""
        return abs(self.difference) <= self.tolerance + 1e-9


def check_expected(cfg: Config, tta: bool) -> dict[str, Any]:
    """The config's `expected` with the metrics that fit the run.

    Args:
        tta: the run has test-time augmentation, which `metrics_tta` is for.

    Raises:
        UsageError: there is nothing to compare with.
    """
    expected = cfg.get("expected")
    key = "metrics_tta" if tta else "metrics"
    if not expected:
        raise UsageError(
            f"--verify compares with `expected`, which {cfg.filename} does not have (the demo "
            "drops it: its data are others). Write expected = "
            "dict(metrics={'coco/bbox_mAP': 0.473}, source='...', verified=False) into it"
        )
    if not expected.get(key):
        other = "without --tta" if tta else "with --tta"
        raise UsageError(
            f"--verify: `expected` of {cfg.filename} has no {key}; it can be verified {other} only"
        )
    return {**expected, "metrics": expected[key]}


def compare(
    metrics: dict[str, float], expected: dict[str, float], tolerance: float = TOLERANCE
) -> list[Comparison]:
    """Each expected metric beside the measured one, both in points (COCO's fractions times 100).

    Args:
        tolerance: in points.

    Raises:
        UsageError: the run did not measure one of them.
    """
    comparisons = []
    for name, value in expected.items():
        if name not in metrics:
            raise UsageError(
                f"--verify: the run did not measure {name}; it measured {', '.join(metrics)}."
                f"{did_you_mean(name, metrics, 3)}"
            )
        # mmdet gives fractions, mmseg and mmpretrain percents already.
        scale = 100.0 if COCO_KEY.match(name) else 1.0
        comparisons.append(Comparison(name, scale * metrics[name], scale * value, tolerance))
    return comparisons


def print_comparison(comparisons: list[Comparison], expected: dict[str, Any]) -> bool:
    """Print the table on the main process. Returns whether all metrics passed."""
    if is_main_process():
        table = Table(
            "metric",
            "measured",
            "expected",
            "difference",
            "within",
            "",
            title_justify="left",
            title=f"Against {expected.get('source', 'a source that is not given')}",
        )
        for c in comparisons:
            table.add_row(
                c.metric,
                f"{c.measured:.2f}",
                f"{c.expected:.2f}",
                f"{c.difference:+.2f}",
                f"±{c.tolerance:g}",
                "passed" if c.passed else "MISSED",
            )
        Console(width=100).print(table)
    return all(c.passed for c in comparisons)
