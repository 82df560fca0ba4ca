"""Arguments that training and testing share."""

from __future__ import annotations

import argparse
import os
from typing import Any

from ..engine.precision import CHOICES
from ..structures.tiles import OVERLAP
from .config_options import add_config_options

TRAINING = ("epochs", "iters", "batch", "lr", "patience")
"""What of `engine.runs.open_run` changes training alone, by a flag of `mmmamba train`."""


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mmmamba train` and `mmmamba test`."""
    parser.add_argument("config", help="config file")
    parser.add_argument(
        "--work-dir", metavar="DIR", help="where logs and checkpoints go (work_dirs/CONFIG)"
    )
    parser.add_argument("--name", metavar="NAME", help="of the work dir below work_dirs (CONFIG)")
    parser.add_argument(
        "--device", metavar="D", help="cpu, cuda or the number of a GPU (the first GPU there is)"
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes that read data, for each data loader"
    )
    add_size_argument(parser)
    parser.add_argument(
        "--tile",
        type=int,
        metavar="PIXELS",
        help="detectors: larger images as tiles of this side, joined before they are scored",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        metavar="SHARE",
        help=f"of neighbouring tiles ({OVERLAP})",
    )
    add_config_options(
        parser,
        "settings that replace the config's: model.backbone.with_cp=True "
        "custom_hooks.EarlyStoppingHook.patience=5",
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


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mmmamba train` that everything else in the config follows."""
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int, metavar="N", help="passes over the images")
    length.add_argument("--iters", type=int, metavar="N", help="training steps")
    parser.add_argument(
        "--batch",
        type=int,
        metavar="N",
        help="images of a step on one GPU; the learning rate follows",
    )
    parser.add_argument("--lr", type=float, metavar="RATE", help="learning rate")
    parser.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="end after so many validations without a better one; 0: never early",
    )


def add_size_argument(parser: argparse.ArgumentParser) -> None:
    """`--imgsz`, of whatever prepares images."""
    parser.add_argument(
        "--imgsz", metavar="N|HxW", help="size of images, or a segmentor's crops (the config's)"
    )


def add_precision_argument(parser: argparse.ArgumentParser) -> None:
    """`--precision` of what predicts."""
    parser.add_argument(
        "--precision",
        choices=CHOICES,
        default="auto",
        metavar="TYPE",
        help=f"of the network: {', '.join(CHOICES)} (auto: half where it is fast)",
    )


def add_speed_arguments(parser: argparse.ArgumentParser) -> None:
    """`--graphs` and `--tf32`, of whatever runs on a GPU."""
    parser.add_argument(
        "--graphs",
        type=_graphs,
        default="auto",
        metavar="off|auto|N",
        help="replay what has a static shape as CUDA graphs: never, where it pays, or for N sizes "
        "of batches (auto)",
    )
    parser.add_argument(
        "--tf32",
        type=_on_or_off,
        metavar="on|off",
        help="float32 products of a GPU in TF32, or exact (on; off where runs are deterministic)",
    )


def _graphs(text: str) -> int | str:
    if text in ("off", "auto"):
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wanted off, auto or a number of sizes, not {text!r}")
    return int(text)


def _on_or_off(text: str) -> bool:
    if text not in ("on", "off"):
        raise argparse.ArgumentTypeError(f"wanted on or off, not {text!r}")
    return text == "on"


def training_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `add_training_arguments` as `engine.runs.open_run` takes them."""
    return {name: getattr(args, name) for name in TRAINING}


def run_settings(args: argparse.Namespace) -> dict[str, Any]:
    """These arguments as `engine.runs.open_run` takes them."""
    # MMEngine reads the variable; what torchrun has set there is right already.
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    return dict(
        config=args.config,
        options=args.cfg_options,
        work_dir=args.work_dir,
        name=args.name,
        device=args.device,
        workers=args.workers,
        imgsz=args.imgsz,
        tile=args.tile,
        overlap=args.overlap,
        launcher=args.launcher,
        demo=args.demo,
    )
