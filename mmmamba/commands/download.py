"""``mmmamba download``: published weights into the cache, with their licence."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ..checkpoints.download import as_local_file, cached_path, sha256
from ..checkpoints.published import Published, published

EXAMPLES = """examples:
  mmmamba download vmamba_t                      the ImageNet weights
  mmmamba download vmamba_t --task mask_rcnn_1x  the authors' detector
`mmmamba list --weights` names what there is. A download that broke off is gone on with."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("names", nargs="+", metavar="NAME", help="backbones, such as vmamba_t")
    parser.add_argument(
        "--task", default="classification", help="which weights of theirs (classification)"
    )


def run(args: argparse.Namespace) -> int:
    entries = [published(name, args.task) for name in args.names]
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for entry in entries:
        console.print(f"{entry.name}, {entry.task}: {entry.results} ({entry.source})")
        console.print(f"licence: {entry.licence}")
        if entry.note:
            console.print(f"note: {entry.note}")
        there = cached_path(entry.url).is_file()
        try:
            path = _fetched(entry)
        except KeyboardInterrupt:
            print(
                "stopped; the same command goes on from there, if the server can", file=sys.stderr
            )
            return 130
        known = "as published" if entry.sha256 else "none is published to compare with"
        console.print(f"sha256: {sha256(path)} ({known})")
        console.print(
            f"{'was there already' if there else 'file'}: {path} ({path.stat().st_size:,} bytes)"
        )
    return 0


def _fetched(entry: Published) -> Path:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    # On the error stream: what is printed may be read by a program.
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(entry.name, total=entry.size)
        return as_local_file(
            entry.url, lambda done, total: bar.update(task, completed=done, total=total)
        )
