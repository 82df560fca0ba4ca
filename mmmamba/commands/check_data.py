"""`mmmamba check-data`: what is wrong with the data of a config."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .config_options import add_config_options

SAMPLES = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="config file or the name of a shipped one")
    parser.add_argument(
        "--splits",
        nargs="+",
        choices=["train", "val", "test"],
        default=["train", "val", "test"],
        help="splits to check (all)",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="where contact sheets go (work_dirs/CONFIG/data)"
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=SAMPLES,
        metavar="N",
        help=f"images on a contact sheet, 0 draws none ({SAMPLES})",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="read the headers of images only: those that are cut off are not found",
    )
    parser.add_argument("--json", metavar="FILE", help="write the findings to a file")
    add_config_options(parser)
    parser.epilog = (
        "Exit code 0: nothing but notes. 1: faults were found. 2: there is nothing to check."
    )


def run(args: argparse.Namespace) -> int:
    # Imported when it runs: `--help` need not wait for OpenMMLab.
    from rich.console import Console

    from ..datasets.checks.run import check_overlap, check_split
    from ..datasets.checks.samples import samples_of
    from ..datasets.checks.splits import config_splits
    from ..datasets.checks.tables import print_report
    from ..engine.preflight import check_data
    from ..engine.runs import open_run
    from ..errors import UsageError
    from ..structures.classes import Classes
    from ..visualization.sheets.contact_sheet import draw_contact_sheet

    cfg = open_run(args.config, args.cfg_options)
    splits = config_splits(cfg, tuple(args.splits))
    if not splits:
        raise UsageError(
            f"{cfg.filename} has no data set in {', '.join(f'{s}_dataloader' for s in args.splits)}"
        )
    # Ends here where files are missing: the checks below open them.
    check_data(cfg, tuple(dict.fromkeys(split.name for split in splits)))
    console, reports, train_images = Console(), [], []
    for split in splits:
        checked = check_split(cfg, split, decode=not args.quick)
        if split.name == "train":
            train_images += checked.images()
        else:
            # Images that are trained on and scored make a score mean nothing.
            check_overlap(train_images, checked.images(), checked.report)
        print_report(checked.report, console)
        reports.append(checked.report)
        samples = samples_of(checked, args.samples)
        if samples:
            file = Path(args.out or Path(cfg.work_dir) / "data") / f"{split.name}.png"
            classes = Classes.from_meta(split.dataset.metainfo)
            draw_contact_sheet(samples, classes, file, f"{split.name}: {checked.report.file}")
            console.print(f"Contact sheet: {file}", soft_wrap=True)
    if args.json:
        Path(args.json).write_text(json.dumps([report.to_dict() for report in reports], indent=2))
    faults = sum(report.number("stop", "fault") for report in reports)
    console.print(f"\n[bold]{f'{faults} faults' if faults else 'clean'}[/bold]")
    return 1 if faults else 0
