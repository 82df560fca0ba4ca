"""`mmmamba inspect`: pictures of what a model looks at, one file each."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from ..config_options import add_config_options

WHAT = ("scan", "attention", "features", "cam", "erf")
USAGE = "mmmamba inspect MODEL IMAGE [options]"
EPILOG = """pictures (all that the model can have):
  scan       how the scan walks the map, on the image
  attention  what a cell takes from the others in a scan: its implicit attention
  features   the backbone's maps: principal components as colours, activations
  cam        Grad-CAM of a detection, or of a segmentor's or classifier's class
  erf        effective receptive field, before and after training
example: mmmamba inspect work_dirs/demo photo.jpg --what attention --pixel 320 240
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage, parser.epilog = USAGE, EPILOG
    parser.formatter_class = partial(argparse.RawDescriptionHelpFormatter, max_help_position=32)
    add = parser.add_argument
    add("model", metavar="MODEL", help="a run's folder, a checkpoint in it, or a config")
    add("image", metavar="IMAGE")
    add("--what", nargs="+", choices=WHAT, metavar="NAME", help="of the pictures below")
    add("--checkpoint", metavar="PATH", help="file or URL, where it is not the run's own")
    add("--untrained", action="store_true", help="random weights, no checkpoint")
    add(
        "--pixel",
        nargs=2,
        type=float,
        metavar=("X", "Y"),
        help="attention: of the file (the centre)",
    )
    add("--stage", type=int, metavar="N", help="scan, attention: from 0")
    add("--block", type=int, metavar="N", help="scan, attention: from 0 (the last)")
    add("--detection", type=int, default=0, metavar="N", help="cam: by score, from 0 (0)")
    add("--class", dest="label", metavar="NAME", help="cam: of this class only")
    add("--part", choices=("neck", "backbone"), help="cam: whose maps (the neck's)")
    add(
        "--beside",
        nargs="+",
        default=[],
        metavar="NAME[=PATH]",
        help="erf: classifiers of torchvision such as resnet50, and files of their weights",
    )
    add("--size", type=int, default=512, metavar="N", help="erf: pixels of a crop's side (512)")
    add("--crops", type=int, default=4, metavar="N", help="erf: number of crops (4)")
    add(
        "--out",
        type=Path,
        default=Path("inspect"),
        metavar="DIR",
        help="for the PNG files (inspect)",
    )
    add("--device", help="cpu, cuda or cuda:1 (a GPU if there is one)")
    add_config_options(parser, "replace settings of the config")


def run(args: argparse.Namespace) -> int:
    # Imported when it runs: `--help` need not wait for matplotlib and OpenMMLab.
    from .inspection import Inspection

    inspection = Inspection.open(
        args.model, args.image, args.checkpoint, args.untrained, args.device, args.cfg_options
    )
    args.out.mkdir(parents=True, exist_ok=True)
    wanted = args.what
    # Asked for by name, a picture that cannot be is an error; of all, it is left out and told.
    if wanted is None:
        left_out = inspection.left_out()
        for what, reason in left_out.items():
            print(f"{what}: left out, {reason}")
        wanted = [what for what in WHAT if what not in left_out]
    for what in wanted:
        path = args.out / f"{what}.png"
        # Pictures are named as the methods that draw them.
        draw = getattr(inspection, what)
        print(f"{what}: {draw(path, **_options(what, args))} → {path}")
    return 0


def _options(what: str, args: argparse.Namespace) -> dict:
    """The arguments that a picture takes."""
    place = dict(stage=args.stage, block=args.block)
    return {
        "scan": place,
        "attention": dict(place, pixel=args.pixel),
        "features": {},
        "cam": dict(detection=args.detection, label=args.label, part=args.part),
        "erf": dict(size=args.size, crops=args.crops, beside=_named_files(args.beside)),
    }[what]


def _named_files(given: list[str]) -> dict[str, str | None]:
    """Files by name, from words NAME or NAME=PATH."""
    files = {}
    for word in given:
        name, _, path = word.partition("=")
        files[name] = path or None
    return files
