"""`mmmamba train`, `tools/train.py`: train a detector, a segmentor or a classifier."""

from __future__ import annotations

import argparse
import sys

from ..engine.runs import NEWEST
from ..engine.tracking import TRACKERS
from ..errors import NonFiniteError
from .calls import train
from .run_arguments import (
    add_run_arguments,
    add_speed_arguments,
    add_training_arguments,
    run_settings,
    training_settings,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `tools/train.py`."""
    add_run_arguments(parser)
    add_training_arguments(parser)
    parser.add_argument(
        "--resume",
        nargs="?",
        const=NEWEST,
        metavar="PATH",
        help="continue from a checkpoint of this run; without a path from the latest one in the "
        "work dir",
    )
    parser.add_argument(
        "--may-differ",
        nargs="+",
        default=[],
        metavar="NAME",
        help="modules and weights that load_from need not fit and that are trained anew: "
        "bbox_head.fc_cls",
    )
    parser.add_argument("--amp", action="store_true", help="train with mixed precision (GPU only)")
    add_speed_arguments(parser)
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="let the learning rate follow the images of a step that this run has",
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="the same numbers from every run on a GPU; slower",
    )
    parser.add_argument(
        "--skip-bad-data", action="store_true", help="leave bad images and annotations out, counted"
    )
    parser.add_argument(
        "--skip-nan",
        action="store_true",
        help="leave out steps that are not finite, and count them",
    )
    parser.add_argument(
        "--no-pictures", action="store_true", help="leave no pictures in the work dir"
    )
    parser.add_argument(
        "--log-to",
        action="append",
        default=[],
        metavar="NAME",
        help=f"log to {', '.join(TRACKERS)} as well",
    )
    parser.add_argument(
        "--replay",
        metavar="DIR",
        help="do a step again that was not finite; DIR is nan_... of a run",
    )


def run(args: argparse.Namespace) -> int:
    """Train; the exit code is 75 where it was told to stop and is saved, 1 where it is not finite.

    Whether a step that was done again is finite is told in the same way.
    """
    settings = run_settings(args)
    try:
        return train(
            settings.pop("config"),
            cfg_options=settings.pop("options"),
            **settings,
            **training_settings(args),
            amp=args.amp,
            resume=args.resume,
            may_differ=args.may_differ,
            graphs=args.graphs,
            tf32=args.tf32,
            auto_scale_lr=args.auto_scale_lr,
            deterministic=args.deterministic,
            skip_bad_data=args.skip_bad_data,
            skip_nan=args.skip_nan,
            pictures=not args.no_pictures,
            log_to=args.log_to,
            replay=args.replay,
        ).code
    except NonFiniteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
