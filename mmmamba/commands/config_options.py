"""The argument `--cfg-options`, which many commands take."""

from __future__ import annotations

import argparse

from mmengine.config import DictAction


def add_config_options(
    parser: argparse.ArgumentParser, help: str = "settings that replace the config's"
) -> None:
    """Add `--cfg-options`, whose values stand under their dotted keys."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        default={},
        metavar="KEY=VALUE",
        help=help,
    )
