"""`mmmamba new`: a config for one's own data."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

EXAMPLES = """examples:
  mmmamba new --backbone vmamba_t --head mask_rcnn --data my_coco/
  mmmamba new --backbone vmamba_t --head rtmdet --data export/ --val-share 0.2
  mmmamba new --backbone vmamba_t --head rtmdet --data my_yolo/data.yaml
  mmmamba new --backbone vmamba_t --head upernet --data masks/ --out roads.py
  mmmamba new --backbone vim_t --head dino --data my_coco/
  mmmamba new --backbone mlla_t --head mmseg::pspnet --data masks/"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--backbone", required=True, metavar="NAME", help="such as vmamba_t (mmmamba list)"
    )
    parser.add_argument(
        "--head",
        required=True,
        metavar="NAME",
        help="mask_rcnn, retinanet, rtmdet, yolox, upernet, …, or a method or config of mmdet or "
        "mmseg: dino, mmdet::dino/dino-4scale_r50_8xb2-12e_coco (mmmamba list --heads)",
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="folder with images and COCO, YOLO, Pascal VOC or labelme labels or label maps, or a "
        "YOLO data.yaml",
    )
    parser.add_argument("--out", metavar="FILE", help="config to write (DATA_BACKBONE_HEAD.py)")
    parser.add_argument(
        "--val-share",
        type=float,
        metavar="SHARE",
        help="hold this share of the images out for validation",
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="images of a step on one GPU")
    parser.add_argument("--gpus", type=int, default=1, metavar="N", help="that will train (1)")
    parser.add_argument(
        "--length", type=int, metavar="N", help="epochs of a detector or iterations of a segmentor"
    )
    parser.add_argument("--force", action="store_true", help="replace the config if it is there")


def run(args: argparse.Namespace) -> int:
    # Imported when it runs: `--help` need not wait for OpenMMLab.
    from ...datasets.discovery import data_folder
    from ...errors import UsageError
    from .heads import head_word
    from .write import write_config

    for option, value in (
        ("--batch-size", args.batch_size),
        ("--gpus", args.gpus),
        ("--length", args.length),
    ):
        if value is not None and value < 1:
            raise UsageError(f"{option} is {value}, wanted 1 or more")
    if args.val_share is not None and not 0 < args.val_share < 1:
        raise UsageError(
            f"--val-share is {args.val_share}, wanted a share between 0 and 1, such as 0.2"
        )
    root = Path(args.data)
    name = f"{data_folder(root).name}_{args.backbone}_{head_word(args.head)}.py"
    out = Path(args.out or name)
    if out.exists() and not args.force:
        raise UsageError(
            f"{out} is there already; name another with --out, or replace it with --force"
        )
    written = write_config(
        args.backbone,
        args.head,
        root,
        out,
        val_share=args.val_share,
        batch=args.batch_size,
        gpus=args.gpus,
        length=args.length,
        command=_command(args),
    )
    print("\n".join(written))
    print(
        f"Wrote {out}. Next:\n  mmmamba check-data {out}\n  mmmamba train {out}\n"
        f"  mmmamba infer work_dirs/{out.stem} IMAGE"
    )
    return 0


def _command(args: argparse.Namespace) -> str:
    """The command that writes the same config again, for the config's first line."""
    words = ["mmmamba new"]
    for key in ("backbone", "head", "data", "val_share", "batch_size", "gpus", "length"):
        value = getattr(args, key)
        if value is not None and (key, value) != ("gpus", 1):
            words.append(f"--{key.replace('_', '-')} {shlex.quote(str(value))}")
    return " ".join(words)
