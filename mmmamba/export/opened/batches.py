"""Batches of any length through a file that may take so many images at a time alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..runtimes import Runtime

Arrays = dict[str, np.ndarray]


def run_batch(runtime: Runtime, inputs: Mapping[str, np.ndarray]) -> Arrays:
    """The outputs of all images: filled up and cut, or in parts, where the batch is fixed."""
    fixed = runtime.metadata.inputs.batch
    count = len(next(iter(inputs.values())))
    if fixed in (None, count):
        return runtime.run(inputs)
    parts = []
    for start in range(0, count, fixed):
        some = {name: value[start : start + fixed] for name, value in inputs.items()}
        parts.append(runtime.run({name: _filled(value, fixed) for name, value in some.items()}))
    names = parts[0]
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in names}


def _filled(values: np.ndarray, count: int) -> np.ndarray:
    """The last image again until there are enough."""
    missing = count - len(values)
    return np.concatenate([values, np.repeat(values[-1:], missing, axis=0)]) if missing else values
