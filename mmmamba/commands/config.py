"""`mmmamba config`: a config as it will be used, each value with the file and line that set it."""

from __future__ import annotations

import argparse

from mmengine.config import DictAction
from rich.console import Console
from rich.text import Text

from ..config.find import find_config
from ..config.keys import check_keys
from ..config.options import check_options
from ..config.origins import Origins, leaves
from ..config.read import read_config
from ..config.values import check_values
from ..errors import UsageError
from ..suggest import did_you_mean

ORIGIN_COLUMN = 72
"""Where origins begin, unless a line is longer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="config file or name")
    parser.add_argument(
        "sections", nargs="*", metavar="KEY", help="print only these, such as model.backbone (all)"
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        default={},
        metavar="KEY=VALUE",
        help="settings that replace the config's, as for training",
    )
    parser.add_argument(
        "--dump",
        metavar="FILE",
        help="also write the resolved config: one .py file",
    )


def run(args: argparse.Namespace) -> int:
    path = find_config(args.config)
    cfg = read_config(path)
    check_options(cfg, args.cfg_options)
    cfg.merge_from_dict(args.cfg_options)
    check_keys(cfg, args.cfg_options)
    check_values(cfg, args.cfg_options)
    values = [(".".join(map(str, keys)), keys, value) for keys, value in leaves(cfg.to_dict())]
    for section in args.sections:
        if not any(_within(dotted, section) for dotted, _, _ in values):
            known = {
                ".".join(map(str, keys[:depth]))
                for _, keys, _ in values
                for depth in range(1, len(keys) + 1)
            }
            raise UsageError(f"{path} has no {section}.{did_you_mean(section, known, 3)}")
    origins, console = Origins(path, args.cfg_options), Console(highlight=False, soft_wrap=True)
    for dotted, keys, value in values:
        if not args.sections or any(_within(dotted, section) for section in args.sections):
            line = f"{dotted} = {value!r}"
            console.print(
                Text(f"{line:<{ORIGIN_COLUMN}}") + Text(f"  # {origins.of(keys)}", style="dim")
            )
    if args.dump:
        _dump(cfg, args.dump)
    return 0


def _within(dotted: str, section: str) -> bool:
    return dotted == section or dotted.startswith(f"{section}.")


def _dump(cfg, target: str) -> None:
    if not target.endswith(".py"):
        raise UsageError(f"--dump {target}: wanted a name that ends in .py")
    try:
        cfg.dump(target)
    except OSError as error:
        raise UsageError(f"--dump {target} cannot be written: {error.strerror}") from error
