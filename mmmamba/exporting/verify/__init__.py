"""Whether a file computes what PyTorch computes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...errors import UsageError
from ...ops.tf32 import float32_products
from ..graphs import Graph
from ..runtimes import Runtime
from .batches import Batch, draw, trial_batches
from .boxes import BoxCheck
from .checks import Check, LabelCheck, MapCheck, TopCheck
from .eager import run_graph
from .limits import LIMITS, Limits
from .rounding import TASKS, rounding_errors

__all__ = [
    "LIMITS",
    "Batch",
    "Check",
    "Limits",
    "Report",
    "draw",
    "run_graph",
    "trial_batches",
    "verify",
]


@dataclass(frozen=True)
class Report:
    """What a comparison found."""

    runtime: str
    precision: str
    batches: tuple[str, ...]
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether the file may be used."""
        return all(check.passed for check in self.checks)

    def lines(self) -> list[str]:
        """A heading and a line for each output."""
        verdict = "right" if self.passed else "WRONG"
        tried = ", ".join(_times(name, n) for name, n in Counter(self.batches).items())
        head = f"{self.runtime} against PyTorch: {verdict} ({self.precision}; {tried})"
        return [head, *(f"  {_mark(check)} {check.line}" for check in self.checks)]

    def to_json(self) -> dict[str, Any]:
        """For the metadata of the file."""
        return dict(
            passed=self.passed,
            runtime=self.runtime,
            pytorch=torch.__version__,
            batches=list(self.batches),
            outputs={check.output: check.numbers for check in self.checks},
            lines=self.lines(),
        )


def verify(
    graph: Graph, runtime: Runtime, batches: Sequence[Batch], limits: Limits | None = None
) -> Report:
    """Run a graph in PyTorch and its file in a runtime, and compare what they give.

    Args:
        batches: of `trial_batches`.
        limits: those of the file's precision if None.
    """
    precision = runtime.metadata.precision
    limits = limits or LIMITS[precision]
    comparison = _Comparison(graph, limits, runtime.metadata.score_threshold)
    graph.eval()
    with float32_products(tf32=False):
        for batch in batches:
            wanted = run_graph(graph, batch.inputs)
            try:
                given = runtime.run(batch.inputs)
            except UsageError as error:
                comparison.refuse("run", f"at {batch.name}: {error}")
                break
            if not comparison.alike(wanted, given, batch.name):
                break
            comparison.add(wanted, given, batch.name)
        if precision == "float32" and graph.task in TASKS and comparison.has_far_maps():
            comparison.allow(rounding_errors(graph, batches))
    names = tuple(batch.name for batch in batches)
    return Report(runtime.name, precision, names, comparison.results())


class _Comparison:
    """The checks that a graph's outputs need."""

    def __init__(self, graph: Graph, limits: Limits, threshold: float | None) -> None:
        self._refused: list[Check] = []
        self._boxes: BoxCheck | None = None
        self._each: dict[str, MapCheck | LabelCheck] = {}
        self._top: TopCheck | None = None
        # Without suppression boxes and scores are maps of all priors.
        if graph.task == "detection" and "labels" in graph.output_names:
            self._boxes = BoxCheck(limits, threshold)
            return
        for name in graph.output_names:
            kind = LabelCheck if name == "labels" else MapCheck
            self._each[name] = kind(name, limits)
        if graph.task == "classification":
            self._top = TopCheck(graph.output_names[0], limits)

    def refuse(self, output: str, why: str) -> None:
        self._refused.append(Check(output, False, f"{output}: {why}"))

    def alike(
        self, wanted: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray], batch: str
    ) -> bool:
        """Whether all outputs are there, in their shapes and kinds."""
        for name, array in wanted.items():
            if name not in given:
                self.refuse(name, f"the file does not give it, but {', '.join(given)}")
            elif given[name].shape != array.shape:
                shapes = f"{given[name].shape}, wanted {array.shape}"
                self.refuse(name, f"the file gives the shape {shapes}, at {batch}")
            elif given[name].dtype.kind != array.dtype.kind:
                kinds = f"{given[name].dtype}, wanted {array.dtype}"
                self.refuse(name, f"the file gives {kinds}, at {batch}")
        return not self._refused

    def add(
        self, wanted: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray], batch: str
    ) -> None:
        if self._boxes is not None:
            self._boxes.add(wanted, given, batch)
        for name, check in self._each.items():
            check.add(wanted[name], given[name], batch)
        if self._top is not None:
            self._top.add(wanted[self._top.output], given[self._top.output], batch)

    def has_far_maps(self) -> bool:
        """Whether any map is further off than the limit, and nothing else is wrong with it."""
        maps = (check for check in self._each.values() if isinstance(check, MapCheck))
        return not self._refused and any(check.is_far() for check in maps)

    def allow(self, errors: Mapping[str, float]) -> None:
        """Tell the checks of maps what float32 itself is off by."""
        for name, check in self._each.items():
            if isinstance(check, MapCheck):
                check.rounding = errors[name]

    def results(self) -> tuple[Check, ...]:
        if self._refused:
            return tuple(self._refused)
        checks = [check.result() for check in self._each.values()]
        more = [check.result() for check in (self._boxes, self._top) if check is not None]
        return (*checks, *more)


def _times(name: str, count: int) -> str:
    return name if count == 1 else f"{count} times {name}"


def _mark(check: Check) -> str:
    return "✓" if check.passed else "✗"
