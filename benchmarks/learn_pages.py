"""The tables of docs/learning.md, as those of `pages.py`."""

from __future__ import annotations

from cells import Page, Source, number, text

LEARNED = {"iterations": number("iterations"), "seconds": number("seconds")}

LEARNING = {
    "learn": Page(
        Source("learn", "backbones"),
        {
            "backbone": text("backbone"),
            "dsb2018 box AP": number("box_ap", ".1f"),
            "mask AP": number("mask_ap", ".1f"),
            "seconds": number("dsb2018_seconds"),
            "camvid mIoU": number("miou", ".1f"),
            "mAcc": number("macc", ".1f"),
            "seconds, camvid": number("camvid_seconds"),
        },
    ),
    "learn_short": Page(
        Source("learn_short", "camvid"),
        {
            "backbone": text("backbone"),
            "camvid mIoU": number("miou", ".1f"),
            "mAcc": number("macc", ".1f"),
            "loss at first": number("first_loss", ".2f"),
            "at last": number("last_loss", ".2f"),
        },
    ),
    "learn_cells": Page(
        Source("learn_cells", "dsb2018"),
        {
            "backbone": text("backbone"),
            "dsb2018 box AP": number("box_ap", ".1f"),
            "mask AP": number("mask_ap", ".1f"),
            "loss at first": number("first_loss", ".2f"),
            "at last": number("last_loss", ".2f"),
        },
    ),
    "learn_yolo": Page(
        Source("learn_yolo", "detectors"),
        {
            "detector": text("detector"),
            "box AP": number("box_ap", ".1f"),
            "AP50": number("ap50", ".1f"),
            **LEARNED,
        },
    ),
    "learn_by_heart": Page(
        Source("learn_by_heart", "heads"),
        {
            "head": text("head"),
            "box AP": number("box_ap", ".3f"),
            "mask AP": number("mask_ap", ".3f"),
            "mIoU": number("miou", ".3f"),
            **LEARNED,
        },
    ),
}
