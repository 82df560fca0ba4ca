"""`mmmamba new`: a config for one's own data."""

from __future__ import annotations

import argparse

EXAMPLES = """examples:
  mmmamba new --backbone vmamba_t --head mask_rcnn --data my_coco/
  mmmamba new --backbone vmamba_t --head rtmdet --data export/ --val-share 0.2
  mmmamba new --backbone vmamba_t --head rtmdet --data my_yolo/data.yaml
  mmmamba new --backbone vmamba_t --head rtmdet --data aerial/ --tile 640
  mmmamba new --backbone vmamba_t --head upernet --data masks/ --out roads.py
  mmmamba new --backbone vmamba_t --head classifier --data cells/ --val-share 0.2
  mmmamba new --backbone vim_t --head dino --data my_coco/
  mmmamba new --backbone mlla_t --head mmseg::pspnet --data masks/
  mmmamba new --data masks/ --second-modality thermal"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("--backbone", metavar="NAME", help="such as vmamba_t (mmmamba list)")
    parser.add_argument(
        "--head",
        metavar="NAME",
        help="mask_rcnn, retinanet, rtmdet, yolox, upernet, classifier, …, or a method or config "
        "of mmdet or mmseg: dino, mmdet::dino/dino-4scale_r50_8xb2-12e_coco (mmmamba list --heads)",
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="folder with images and COCO, YOLO, Pascal VOC or labelme labels, label maps or "
        "folders of classes, or a YOLO data.yaml",
    )
    parser.add_argument(
        "--second-modality",
        metavar="DIR",
        help="label maps of pairs: folder of the second images (thermal, depth), or its name "
        "beside that of the images; without --backbone and --head for Sigma",
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
        "--length",
        type=int,
        metavar="N",
        help="epochs of a detector or classifier or iterations of a segmentor",
    )
    parser.add_argument(
        "--tile", type=int, metavar="PIXELS", help="cut larger images into tiles of this side"
    )
    parser.add_argument(
        "--overlap", type=float, metavar="SHARE", help="of neighbouring tiles (0.25)"
    )
    parser.add_argument("--force", action="store_true", help="replace the config if it is there")


def run(args: argparse.Namespace) -> int:
    # Imported when it runs: `--help` need not wait for OpenMMLab.
    from .create import new

    config = new(
        args.backbone,
        args.head,
        args.data,
        args.out,
        force=args.force,
        val_share=args.val_share,
        batch=args.batch_size,
        gpus=args.gpus,
        length=args.length,
        second_modality=args.second_modality,
        tile=args.tile,
        overlap=args.overlap,
    )
    print(config)
    print(
        f"Next:\n  mmmamba check-data {config.path}\n  mmmamba train {config.path}\n"
        f"  mmmamba infer work_dirs/{config.path.stem} IMAGE"
        f"{' --second SECOND' if args.second_modality else ''}"
    )
    return 0
