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
        some = {name: _part(value, start, fixed) for name, value in inputs.items()}
        parts.append(runtime.run(some))
    outputs = {}
    for name in parts[0]:
        outputs[name] = np.concatenate([part[name] for part in parts])[:count]
    return outputs


def _part(values: np.ndarray, start: int, count: int) -> np.ndarray:
    """So many images from a place on; after the last one it again until there are enough."""
    part = values[start : start + count]
    missing = count - len(part)
    return np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
