"""What a training shows and writes of itself: a summary, a live line, a table of results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.runner import Runner

from ..log import coco_in_log
from .outline import OutlineHook
from .progress import live_line
from .results import ResultsHook


@contextmanager
def watched(runner: Runner) -> Iterator[None]:
    """Within it a training is shown and its results are written down."""
    runner.register_hook(OutlineHook())
    runner.register_hook(ResultsHook())
    with coco_in_log(runner.logger), live_line(runner):
        yield
