"""The tools train, resume, test and leave what they promise to leave."""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmmamba.commands import main
from mmmamba.commands.run_arguments import run_settings
from mmmamba.commands.train import add_arguments
from mmmamba.engine.runs import open_run

from .conftest import ROOT, TINY, TINY_SEG


def test_train_resume_and_test(tiny_config: Path, capsys: pytest.CaptureFixture) -> None:
    work_dir = tiny_config.parent / "work_dirs" / "tiny_demo"
    assert main(["train", str(tiny_config), "--demo"]) == 0
    printed = capsys.readouterr().out
    assert (work_dir / "epoch_1.pth").is_file()
    assert (
        "last validation" in printed
        and "box" in printed
        and "mask" in printed
        and "AP75" in printed
    )

    longer = ["train_cfg.max_epochs=2", "train_cfg.val_interval=5"]
    assert main(["train", str(tiny_config), "--demo", "--resume", "--cfg-options", *longer]) == 0
    assert "resumed epoch: 1" in capsys.readouterr().out
    assert (work_dir / "epoch_2.pth").is_file()

    assert (
        main(["test", str(tiny_config), "--demo", "--out", "all.pkl", "--show-dir", "pictures"])
        == 0
    )
    printed = capsys.readouterr().out
    assert "epoch_2.pth" in printed and str(tiny_config.parent / "pictures") in printed
    assert len(pickle.loads(Path("all.pkl").read_bytes())) == 2
    assert sorted(p.name for p in Path("pictures").iterdir()) == ["val_00000.png", "val_00001.png"]

    assert main(["test", str(tiny_config), str(work_dir / "epoch_2.pth"), "--demo", "--tta"]) == 0
    assert "masks are not scored" in capsys.readouterr().out


def test_segmentation_with_the_same_tools(tiny_config: Path, capsys: pytest.CaptureFixture) -> None:
    seg = tiny_config.with_name("seg.py")
    seg.write_text(TINY_SEG)
    work_dir = tiny_config.parent / "work_dirs" / "seg_demo"
    assert main(["train", str(seg), "--demo"]) == 0
    assert (work_dir / "iter_2.pth").is_file()
    assert main(["test", str(seg), "--demo", "--out", "maps", "--show-dir", "pictures"]) == 0
    assert "mIoU" in capsys.readouterr().out
    assert (
        len(list(Path("maps").iterdir()))
        == len(list(Path("pictures/vis_data/vis_image").iterdir()))
        == 2
    )
    assert main(["test", str(seg), "--demo", "--tta"]) == 0


def test_the_demo_keeps_the_backbone(tiny_config: Path) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args([str(ROOT / "configs/mask_rcnn/mambavision_t_1x_coco.py"), "--demo"])
    backbone = dict(open_run(**run_settings(args)).model.backbone)
    assert backbone.pop("init_cfg") is None
    assert backbone.pop("window_size") == (16, 8, 4, 2)
    assert backbone == dict(type="MambaVision", arch="mambavision_t", drop_path_rate=0.0)


def test_expected_results_stand_beside_the_measured_ones(capsys: pytest.CaptureFixture) -> None:
    from mmmamba.evaluation.summary import print_summary

    expected = dict(metrics={"coco/bbox_mAP": 0.473}, source="the paper", verified=False)
    print_summary(
        {"coco/bbox_mAP": 0.471, "coco/bbox_mAP_s": -1.0, "coco/bbox_mAP_50": 0.69}, "run", expected
    )
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "0.471 against 0.473 (-0.002)" in printed
        and "not reproduced here yet" in printed
        and "the paper" in printed
    )
    assert "-1.0" not in printed


def test_neck_of_another_width(complaint: Callable[..., str], tiny_config: Path) -> None:
    message = complaint(
        "train", tiny_config, "--demo", "--cfg-options", "model.neck.in_channels=[96,192,384,768]"
    )
    assert (
        "FPN expects maps of [96, 192, 384, 768]" in message
        and "VMamba gives [16, 32, 64, 128]" in message
    )


@pytest.mark.slow
def test_torchrun_trains_on_two_processes(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(TINY)
    options = [
        "train_cfg.max_epochs=1",
        "train_cfg.val_interval=1",
        "train_dataloader.dataset.indices=8",
        "default_hooks.checkpoint.interval=1",
    ]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    train = [str(ROOT / "tools/train.py"), "tiny.py", "--demo"]
    command = [*torchrun, *train, "--cfg-options", *options]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "work_dirs/tiny_demo/epoch_1.pth").is_file()
    assert "Distributed launcher: pytorch" in done.stdout + done.stderr
