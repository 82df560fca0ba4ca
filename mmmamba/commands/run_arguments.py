"""Arguments that training and testing share."""

from __future__ import annotations

import argparse
import os
from typing import Any

from .config_options import add_config_options


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mmmamba train` and `mmmamba test`."""
    parser.add_argument("config", help="config file")
    parser.add_argument(
        "--work-dir", metavar="DIR", help="where logs and checkpoints go (work_dirs/CONFIG)"
    )
    add_config_options(
        parser,
        "settings that replace the config's: train_cfg.max_epochs=3 model.backbone.with_cp=True",
    )
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="pytorch" if "TORCHELASTIC_RUN_ID" in os.environ else "none",
        help="what started the processes; torchrun is recognised",
    )
    # What torch.distributed.launch passes; torchrun sets the environment variable itself.
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument(
        "--demo", action="store_true", help="use a small data set that is drawn on the spot"
    )


def run_settings(args: argparse.Namespace) -> dict[str, Any]:
    """These arguments as `engine.runs.open_run` takes them."""
    # MMEngine reads the variable; what torchrun has set there is right already.
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    return dict(
        name=args.config,
        options=args.cfg_options,
        work_dir=args.work_dir,
        launcher=args.launcher,
        demo=args.demo,
    )
