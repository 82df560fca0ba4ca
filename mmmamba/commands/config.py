"""`mmmamba config`: a config as it will be used, each value with the file and line that set it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from mmengine.config import Config
from rich.console import Console
from rich.text import Text

from ..config.open import check_config, open_config
from ..config.options import by_number
from ..config.origins import Keys, Origins, leaves
from ..errors import UsageError
from ..suggest import did_you_mean
from .config_options import add_config_options

ORIGIN_COLUMN = 72
"""Where origins begin, unless a line is longer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="config file or name")
    parser.add_argument(
        "sections", nargs="*", metavar="KEY", help="print only these, such as model.backbone (all)"
    )
    add_config_options(parser, "settings that replace the config's, as for training")
    parser.add_argument(
        "--dump",
        metavar="FILE",
        help="also write the resolved config: one .py file",
    )


def run(args: argparse.Namespace) -> int:
    cfg = open_config(args.config, args.cfg_options)
    check_config(cfg, args.cfg_options)
    values = {".".join(map(str, keys)): (keys, value) for keys, value in leaves(cfg.to_dict())}
    for section in args.sections:
        _check_section(section, [keys for keys, _ in values.values()], cfg.filename)
    origins = Origins(cfg.filename, by_number(cfg, args.cfg_options))
    console = Console(highlight=False, soft_wrap=True)
    for dotted, (keys, value) in values.items():
        if not args.sections or any(_within(dotted, section) for section in args.sections):
            line = f"{dotted} = {value!r}"
            origin = Text(f"  # {origins.of(keys)}", style="dim")
            # Text, not markup: brackets of lists would be taken for styles.
            console.print(Text(f"{line:<{ORIGIN_COLUMN}}") + origin)
    if args.dump:
        _dump(cfg, args.dump)
    return 0


def _check_section(section: str, places: Iterable[Keys], file: str) -> None:
    """Raises UsageError where no value is at or below a dotted key."""
    # All beginnings of a place are sections: `model`, `model.backbone`, …
    known = set()
    for keys in places:
        known |= {".".join(map(str, keys[: depth + 1])) for depth in range(len(keys))}
    if section not in known:
        raise UsageError(f"{file} has no {section}.{did_you_mean(section, known, 3)}")


def _within(dotted: str, section: str) -> bool:
    return dotted == section or dotted.startswith(f"{section}.")


def _dump(cfg: Config, target: str) -> None:
    if not target.endswith(".py"):
        raise UsageError(f"--dump {target}: wanted a name that ends in .py")
    try:
        cfg.dump(target)
    except OSError as error:
        raise UsageError(f"--dump {target} cannot be written: {error.strerror}") from error
