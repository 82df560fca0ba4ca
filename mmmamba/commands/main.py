"""Finds the module of a command, reads its arguments and runs it."""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module

from ..engine.reliability import nothing_to_save
from .guard import guarded
from .neighbours import refuse_assignments
from .parser import Parser

COMMANDS = {
    "train": "train a detector, a segmentor or a classifier",
    "test": "score a checkpoint: COCO AP, mIoU or accuracy",
    "infer": "draw predictions on images, videos and what a camera sees",
    "new": "write a config for your own data",
    "check-data": "find what is wrong with a data set",
    "list": "backbones, configs and published weights",
    "download": "fetch published weights",
    "bench": "speed, memory and size of a model",
    "export": "a trained model as a file that runs elsewhere",
    "inspect": "pictures of what a model looks at",
    "config": "a config, resolved, and where each value came from",
    "doctor": "what is installed, what runs where, and whether it is right",
}
"""A module of this package each, `-` written `_`.

It has `add_arguments(parser)`, and `run(args)`, which returns the exit code.
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0 done, 1 a check failed, 2 wrong input."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] != ["train"]:
        return guarded(partial(_run, argv))
    # Signals end a training with a code of its own, before the loop hears them as after.
    with nothing_to_save():
        return guarded(partial(_run, argv), goes_on=True)


def _run(argv: list[str]) -> int:
    parser = Parser(
        prog="mmmamba",
        description="Mamba backbones for detection, segmentation and classification.",
    )
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, title="commands"
    )
    runs = {}
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(
            name, help=summary, description=f"{summary[0].upper()}{summary[1:]}."
        )
        # Only the module that is asked for is imported: some load half of OpenMMLab.
        # Told by the first word, as argparse has not read it yet.
        if name in argv[:1]:
            refuse_assignments(name, argv[1:])
            module = import_module(f".{name.replace('-', '_')}", __package__)
            module.add_arguments(sub)
            runs[name] = module.run
    args = parser.parse_args(argv)
    return runs[args.command](args)
