"""``mmmamba test``, ``tools/test.py``: score a checkpoint."""

from __future__ import annotations

import argparse

from ..engine.runs import run_test as run
from ..evaluation.expected import TOLERANCE
from .run_arguments import add_run_arguments

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``tools/test.py``."""
    add_run_arguments(parser)
    parser.add_argument(
        "checkpoint", nargs="?", help="file or URL; with --demo the last one of the work dir"
    )
    parser.add_argument(
        "--out", metavar="PATH", help="save predictions: a .pkl (mmdet) or a folder of maps (mmseg)"
    )
    parser.add_argument("--show", action="store_true", help="show predictions in a window")
    parser.add_argument("--show-dir", metavar="DIR", help="save pictures of predictions to DIR")
    parser.add_argument(
        "--wait-time", type=float, default=2.0, help="seconds each picture is shown"
    )
    parser.add_argument("--tta", action="store_true", help="test-time augmentation")
    parser.add_argument(
        "--fuse",
        action="store_true",
        help="fold batch norms into convolutions; same output, faster",
    )
    parser.add_argument(
        "--verify",
        nargs="?",
        type=float,
        const=TOLERANCE,
        metavar="POINTS",
        help="compare with the config's `expected`; exit code 1 where a metric is more than POINTS of AP or mIoU away "
        f"({TOLERANCE})",
    )
