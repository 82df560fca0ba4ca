"""`mmmamba download`: published weights into the cache, with their licence."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from ..checkpoints import published
from ..checkpoints.download import as_local_file, cached_path, sha256

EXAMPLES = """examples:
  mmmamba download vmamba_t                      the ImageNet weights
  mmmamba download vmamba_t --task mask_rcnn_1x  the authors' detector
`mmmamba list --weights` names what there is."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("names", nargs="+", metavar="NAME", help="backbones, such as vmamba_t")
    parser.add_argument(
        "--task", default="classification", help="which weights of theirs (classification)"
    )


def run(args: argparse.Namespace) -> int:
    # All names are looked up first: a mistyped one at the end costs no downloads.
    entries = [published(name, args.task) for name in args.names]
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for entry in entries:
        console.print(f"{entry.name}, {entry.task}: {entry.results} ({entry.source})")
        console.print(f"licence: {entry.licence}")
        if entry.note:
            console.print(f"note: {entry.note}")
        # Asked before it is fetched: afterwards it is always there.
        where = "was there already" if cached_path(entry.url).is_file() else "file"
        try:
            path = as_local_file(entry.url)
        except KeyboardInterrupt:
            print("stopped; nothing of the file is kept", file=sys.stderr)
            # The code of a program that SIGINT ends, as shells count.
            return 130
        known = "as published" if entry.sha256 else "none is published to compare with"
        console.print(f"sha256: {sha256(path)} ({known})")
        console.print(f"{where}: {path} ({path.stat().st_size:,} bytes)")
    return 0
