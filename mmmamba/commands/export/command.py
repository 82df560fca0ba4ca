"""`mmmamba export`: its arguments, and its exit code."""

from __future__ import annotations

import argparse
import re
from functools import partial

from ...exporting.files import FORMATS
from ..config_options import add_config_options

EPILOG = """formats:
  onnx      for onnxruntime, with a NumPy example beside it
  openvino  for OpenVINO: an .xml and a .bin
  pt2       a program of torch.export, for PyTorch with mmmamba
  aoti      a package compiled by AOTInductor, for PyTorch with mmmamba or without
examples:
  mmmamba export work_dirs/demo
  mmmamba export mask_rcnn/vmamba_t_1x_coco mine.pth --size 800 1344 --out mine.onnx
  mmmamba export work_dirs/demo --int8 --calibrate photos/
  mmmamba export vmamba_t --dynamic"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mmmamba export`."""
    parser.formatter_class = partial(argparse.RawDescriptionHelpFormatter, max_help_position=32)
    parser.epilog = EPILOG
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        help="folder of a run, config by path or name, or name of a backbone",
    )
    add("checkpoint", nargs="?", help="weights, file or URL (the run's, or published)")
    add("--format", choices=FORMATS, help="of the file (by --out's ending, else onnx)")
    add(
        "--size",
        nargs="+",
        type=_sides,
        metavar=("H", "W"),
        help="that the file takes (the config's)",
    )
    add("--dynamic", action="store_true", help="images of any size, and any number of them")
    add("--batch", type=int, default=1, metavar="N", help="images at a time (%(default)s)")
    add("--half", action="store_true", help="numbers in float16: half the size")
    add("--int8", action="store_true", help="products in 8 bits: a quarter of the size")
    add(
        "--calibrate",
        metavar="DIR|CONFIG",
        help="images that --int8 learns ranges from: a folder, or a config's training images",
    )
    add("--no-nms", action="store_true", help="boxes and scores of all places, no detections")
    add(
        "--logits",
        action="store_true",
        help="a segmentor's or classifier's logits in place of label maps or scores",
    )
    add(
        "--standalone",
        action=argparse.BooleanOptionalAction,
        help="pt2, aoti: without operators of mmmamba, or with them (pt2 with, aoti without)",
    )
    add("--image", metavar="FILE", help="a real image to verify the file on")
    add("--second", metavar="FILE", help="its second image, of a model that takes pairs")
    add("--device", default="cpu", help="that it is verified on, and aoti compiled for (cpu)")
    add("--out", metavar="FILE", help="the file (in the run's folder, else here, by its name)")
    add_config_options(parser)


def _sides(text: str) -> tuple[int, ...]:
    match = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"wanted HEIGHT WIDTH such as 480 640, or one side, not {text!r}"
        )
    return tuple(int(side) for side in match.groups() if side)


def run(args: argparse.Namespace) -> int:
    """Export and verify; 1 where the file does not compute what the model does."""
    # Imported when it runs: `--help` need not wait for OpenMMLab.
    from .create import export

    made = export(
        args.model,
        args.checkpoint,
        format=args.format,
        # As `480 640`, as `480x640` and as `640`.
        size=None if args.size is None else sum(args.size, ()),
        dynamic=args.dynamic,
        batch=args.batch,
        half=args.half,
        int8=args.int8,
        calibrate=args.calibrate,
        nms=not args.no_nms,
        logits=args.logits,
        standalone=args.standalone,
        image=args.image,
        second=args.second,
        device=args.device,
        out=args.out,
        cfg_options=args.cfg_options,
        log=print,
    )
    return 0 if made.report.passed else 1
