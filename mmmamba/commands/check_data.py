"""`mmmamba check-data`: what is wrong with the data of a config, or with a folder of data."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .config_options import add_config_options

SAMPLES = 12
DATA_FILES = (".yaml", ".yml")
"""A config is a Python file: such a file describes YOLO labels."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config",
        metavar="CONFIG|DATA",
        help="config file or the name of a shipped one; or data itself: a folder with COCO, YOLO, "
        "Pascal VOC or labelme labels or folders of classes, or a YOLO data.yaml",
    )
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

    console = Console()
    place = Path(args.config)
    is_data = place.is_dir() or place.suffix.lower() in DATA_FILES
    reports = _check_place(args, place, console) if is_data else _check_config(args, console)
    if args.json:
        Path(args.json).write_text(json.dumps([report.to_dict() for report in reports], indent=2))
    faults = sum(report.number("stop", "fault") for report in reports)
    console.print(f"\n[bold]{f'{faults} faults' if faults else 'clean'}[/bold]")
    return 1 if faults else 0


def _check_config(args: argparse.Namespace, console) -> list:
    """Reports of the splits of a config, printed."""
    from ..datasets.checks.class_images import check_shared
    from ..datasets.checks.run import check_overlap, check_split
    from ..datasets.checks.samples import samples_of
    from ..datasets.checks.splits import config_splits
    from ..datasets.checks.tables import print_report
    from ..engine.preflight import check_data
    from ..engine.runs import open_run
    from ..errors import UsageError

    cfg = open_run(args.config, args.cfg_options)
    splits = config_splits(cfg, tuple(args.splits))
    if not splits:
        raise UsageError(
            f"{cfg.filename} has no data set in {', '.join(f'{s}_dataloader' for s in args.splits)}"
        )
    # Ends here where files are missing: the checks below open them.
    check_data(cfg, tuple(dict.fromkeys(split.name for split in splits)))
    folder = Path(args.out or Path(cfg.work_dir) / "data")
    reports, train_images = [], []
    for split in splits:
        checked = check_split(cfg, split, decode=not args.quick)
        if split.name == "train":
            train_images += checked.images()
        else:
            # Images that are trained on and scored make a score mean nothing.
            compare = check_shared if split.is_classification else check_overlap
            compare(train_images, checked.images(), checked.report)
        print_report(checked.report, console)
        reports.append(checked.report)
        _draw(samples_of(checked, args.samples), split.dataset.metainfo, checked.report, folder)
    return reports


def _check_place(args: argparse.Namespace, place: Path, console) -> list:
    """Reports of the splits of a folder or of what a `data.yaml` describes, printed."""
    from ..datasets.checks.run import check_overlap
    from ..datasets.checks.samples import coco_samples, faulty_images
    from ..datasets.checks.tables import print_report
    from ..datasets.discovery import check_place, data_folder, holds_classes, holds_objects
    from ..errors import UsageError

    if args.cfg_options:
        raise UsageError(
            f"{place} is data, which has no keys of a config: leave --cfg-options away"
        )
    folder = Path(args.out or Path("work_dirs") / data_folder(place).name / "data")
    if holds_classes(place) and not holds_objects(place):
        return _check_class_place(args, place, console, folder)
    found, said = check_place(place, args.splits, decode=not args.quick)
    print("\n".join(said))
    train_images = []
    for checked in found:
        report = checked.report
        if report.name == "train":
            train_images = checked.paths()
        else:
            check_overlap(train_images, checked.paths(), report)
        print_report(report, console)
        faulty, number = faulty_images(report), args.samples
        samples = coco_samples(checked.content, checked.images, checked.classes, number, faulty)
        _draw(samples, dict(classes=checked.classes), report, folder)
    return [checked.report for checked in found]


def _check_class_place(args: argparse.Namespace, place: Path, console, folder: Path) -> list:
    """Reports of the splits of a folder with folders of classes, printed."""
    from ..datasets.checks.samples import class_samples
    from ..datasets.checks.tables import print_report
    from ..datasets.discovery import check_class_place

    found = check_class_place(place, args.splits, decode=not args.quick)
    for checked in found:
        print_report(checked.report, console)
        samples = class_samples(checked.labelled, len(checked.classes), args.samples)
        _draw(samples, dict(classes=checked.classes), checked.report, folder)
    return [checked.report for checked in found]


def _draw(samples: list, metainfo: dict, report, folder: Path) -> None:
    """Draw the contact sheet of a split, if there is anything to show."""
    from ..structures.classes import Classes
    from ..visualization.sheets.contact_sheet import draw_contact_sheet

    if samples:
        file = folder / f"{report.name}.png"
        draw_contact_sheet(
            samples, Classes.from_meta(metainfo), file, f"{report.name}: {report.file}"
        )
        print(f"Contact sheet: {file}")
