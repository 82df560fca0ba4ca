"""From a folder of labelled images to AP and mIoU with two commands; errors are one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mmengine.config import Config

from mmmamba.commands import main
from mmmamba.commands.new.schedule import plan_schedule
from mmmamba.commands.new.text import base_path
from mmmamba.config.find import configs_folder, find_config

# A network small enough to train within a test, on images of the size that they are drawn in.
TINY = """
_base_ = "./{base}.py"
model = dict(
    backbone=dict(_delete_=True, type="VMamba", arch=dict(embed_dims=16, depths=(1, 1, 1, 1))),
    {widths},
)
"""
SHORT = ["--imgsz", "64", "--lr", "1e-4", "--workers", "0", "--device", "cpu", "--name", "short"]


def new(capsys: pytest.CaptureFixture, *words: str | Path) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["new", *map(str, words)])
    printed = capsys.readouterr()
    return code, printed.err if code else printed.out


def test_coco_files_to_ap(
    shapes: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = "--backbone vmamba_t --head mask_rcnn --out mine.py --length 2 --data"
    code, printed = new(capsys, *words.split(), shapes / "shapes")
    assert code == 0
    assert "mmmamba check-data mine.py" in printed and "mmmamba train mine.py" in printed
    assert "circle, square, triangle" in printed and "vssm1_tiny" in printed
    assert main(["check-data", "mine.py", "--samples", "0"]) == 0
    assert len(Path("mine.py").read_text().splitlines()) < 60
    Path("tiny.py").write_text(
        TINY.format(base="mine", widths="neck=dict(in_channels=[16, 32, 64, 128])")
    )
    small = ["model.train_cfg.rpn_proposal.max_per_img=50", "model.test_cfg.rpn.max_per_img=20"]
    few = ["--epochs", "1", "--batch", "2", "--patience", "3"]
    assert main(["train", "tiny.py", *few, *SHORT, "--cfg-options", *small]) == 0
    run = Path("work_dirs/short")
    assert (run / "epoch_1.pth").is_file() and "segm_mAP" in capsys.readouterr().out
    # The config of the run is what tests and inference go by.
    cfg = Config.fromfile(run / "resolved_config.py")
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (64, 64)
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_epochs == 1
    assert cfg.custom_hooks[0].patience == 3
    told = next(run.glob("*/*.log")).read_text()
    assert "--imgsz 64: val_dataloader.dataset.pipeline.1 (Resize).scale" in told
    assert all(line in told for line in cfg.changed_by_flags)


def test_label_maps_to_miou(
    shapes: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = "--backbone vmamba_t --head upernet --out mine.py --length 9 --batch-size 2 --data"
    code, printed = new(capsys, *words.split(), shapes / "maps")
    assert code == 0 and "0 … 3" in printed
    assert main(["check-data", "mine.py", "--samples", "0"]) == 0
    widths = (
        "decode_head=dict(in_channels=[16, 32, 64, 128], channels=16), "
        "auxiliary_head=dict(in_channels=64)"
    )
    Path("tiny.py").write_text(TINY.format(base="mine", widths=widths))
    assert main(["train", "tiny.py", "--epochs", "1", *SHORT]) == 0
    # Four images, two of them a step.
    assert Path("work_dirs/short/iter_2.pth").is_file() and "mIoU" in capsys.readouterr().out


def test_the_config_names_the_command_that_writes_it_again(shapes: Path, tmp_path, capsys) -> None:
    out = tmp_path / "mine.py"
    words = f"--backbone vmamba_t --head upernet --out {out} --length 1 --batch-size 1 --data"
    assert new(capsys, *words.split(), shapes / "maps")[0] == 0
    first = " ".join(line.strip("# ") for line in out.read_text().split("\n")[:4])
    assert "--batch-size 1" in first and "--length 1" in first


@pytest.mark.parametrize(
    ("backbone", "head"),
    [
        ("vmamba_t", "cascade_mask_rcnn"),
        ("vmamba_t", "yolox"),
        ("efficientvmamba_t", "retinanet"),
        ("mamba_yolo_t", "mamba_yolo"),
        ("localvim_t", "mask_rcnn"),
        ("mobilemamba_b4", "semantic_fpn"),
    ],
)
def test_every_head_gets_the_classes_and_a_shorter_schedule(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture, backbone: str, head: str
) -> None:
    data = shapes / ("maps" if head == "semantic_fpn" else "shapes")
    out = tmp_path / "folder with blanks" / "mine.py"
    code, _ = new(capsys, "--backbone", backbone, "--head", head, "--data", data, "--out", out)
    assert code == 0
    assert main(["check-data", str(out), "--samples", "0"]) == 0
    (line,) = [line for line in out.read_text().splitlines() if line.startswith("_base_")]
    cfg, base = Config.fromfile(out), Config.fromfile(line.split('"')[1])
    assert cfg.model.backbone == base.model.backbone
    assert cfg.train_dataloader.dataset.pipeline == base.train_dataloader.dataset.pipeline
    length = "max_iters" if "max_iters" in cfg.train_cfg else "max_epochs"
    ends = {entry["end"] for entry in cfg.param_scheduler} | {cfg.train_cfg[length]}
    assert max(ends) == cfg.train_cfg[length] <= base.train_cfg[length] * 25
    assert all(entry["begin"] < entry["end"] for entry in cfg.param_scheduler)
    for hook in cfg.custom_hooks:
        assert hook.get("switch_epoch", 0) < cfg.train_cfg[length]
    # Early stopping is offered everywhere, and can happen.
    (stopping,) = (hook for hook in cfg.custom_hooks if hook.type == "EarlyStoppingHook")
    assert 1 < stopping.patience + 1 < cfg.train_cfg[length] // cfg.train_cfg.val_interval


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("--backbone vmamba_tt --head mask_rcnn --data {coco}", "Did you mean 'vmamba_t'"),
        ("--backbone vmamba_t --head mask_rcn --data {coco}", "Did you mean 'mask_rcnn'"),
        (
            "--backbone vmamba_t --head mamba_yolo --data {coco}",
            "Its neck and head on vmamba_t: --head dfl",
        ),
        (
            "--backbone vmamba_t --head upernet --data {coco}",
            "has COCO annotations; upernet learns from label maps",
        ),
        (
            "--backbone vmamba_t --head rtmdet --data {maps}",
            "Heads for label maps: upernet, semantic_fpn",
        ),
        ("--backbone vmamba_t --head rtmdet --data {coco}/nothing", "there is no folder"),
        ("--backbone vmamba_t --head rtmdet --data {coco} --val-share 2", "between 0 and 1"),
        (
            "--backbone vmamba_t --head rtmdet --data {coco} --out {coco}/shapes.json",
            "is there already",
        ),
    ],
)
def test_what_cannot_work_is_one_line(
    shapes: Path, tmp_path: Path, capsys, words: str, wanted: str
) -> None:
    given = words.format(coco=shapes / "shapes", maps=shapes / "maps").split()
    given += [] if "--out" in given else ["--out", str(tmp_path / "mine.py")]
    code, message = new(capsys, *given)
    assert (
        code == 2
        and wanted in message
        and message.startswith("error: ")
        and len(message.splitlines()) == 1
    )


def test_boxes_without_masks_name_the_heads_that_work(shapes: Path, tmp_path: Path, capsys) -> None:
    root = tmp_path / "boxes"
    shutil.copytree(shapes / "shapes", root)
    for file in (root / "annotations").iterdir():
        file.write_text(file.read_text().replace('"segmentation"', '"outline"'))
    code, message = new(
        capsys, "--backbone", "vmamba_t", "--head", "mask_rcnn", "--data", root, "--out", "x.py"
    )
    assert code == 2 and "Heads for boxes on vmamba_t: retinanet, yolox, rtmdet, dfl" in message


def test_the_base_survives_what_the_text_says(tmp_path: Path) -> None:
    """A config outside of the checkout may be moved, one within it moves with it."""
    shipped = configs_folder() / "mask_rcnn" / "vmamba_t_1x_coco.py"
    assert base_path(shipped, tmp_path / "mine.py") == str(shipped)
    inside = configs_folder().parent / "work" / "mine.py"
    assert base_path(shipped, inside) == "../configs/mask_rcnn/vmamba_t_1x_coco.py"


@pytest.mark.parametrize(("images", "interval"), [(1, 1), (8, 2), (100_000, 50)])
def test_short_epochs_are_logged(images, interval):
    base = Config.fromfile(find_config("mask_rcnn/vmamba_t_1x_coco"))
    assert plan_schedule(base, images, 2).log_interval == interval


@pytest.mark.parametrize("head", ["mask_rcnn", "mmdet::yolox/yolox_s_8xb8-300e_coco"])
def test_tiles_are_written_around_the_data(shapes: Path, tmp_path: Path, head: str) -> None:
    """Also within what mixes images, and with a schedule for as many samples as there are tiles."""
    import mmmamba

    written = mmmamba.new("vmamba_t", head, shapes / "shapes", tmp_path / "mine.py", tile=48)
    whole = mmmamba.new("vmamba_t", head, shapes / "shapes", tmp_path / "whole.py")
    cfg, before = Config.fromfile(written.path), Config.fromfile(whole.path)
    for split in ("train", "val", "test"):
        cut, plain = cfg[f"{split}_dataloader"].dataset, before[f"{split}_dataloader"].dataset
        if cut.type == "MultiImageMixDataset":
            cut, plain = cut.dataset, plain.dataset
        assert (cut.type, cut.size, cut.overlap) == ("TiledDataset", 48, 0.25)
        same = ("type", "ann_file", "data_prefix", "data_root", "pipeline", "test_mode")
        assert {k: cut.dataset.get(k) for k in same} == {k: plain.get(k) for k in same}
        if split != "train":
            scored, wanted = cfg[f"{split}_evaluator"], before[f"{split}_evaluator"]
            assert scored.type == "TiledCocoMetric" and scored.ann_file == wanted.ann_file
    # Images of the fixture, each several tiles.
    assert cfg.train_cfg.max_epochs <= before.train_cfg.max_epochs
    assert any("Tiles of 48 x 48 pixels" in line for line in written.said)
    assert main(["check-data", str(written.path), "--samples", "0"]) == 0
