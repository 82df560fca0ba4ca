"""`mmmamba inspect` draws what a model looks at, and says what it cannot draw."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.registry import MODELS, DefaultScope
from PIL import Image
from torch import nn

from mmmamba.commands import main
from mmmamba.datasets.shapes import CLASSES, ShapesSpec, make_shapes
from mmmamba.ops import selective_scan

ROOT = Path(__file__).parents[2]
DETECTOR = f"""
_base_ = "{ROOT}/configs/mask_rcnn/vmamba_t_1x_coco.py"
model = dict(
    backbone=dict(_delete_=True, type="VMamba", arch=dict(embed_dims=16, depths=(1, 1, 2, 1))),
    neck=dict(in_channels=[16, 32, 64, 128]),
    roi_head=dict(bbox_head=dict(num_classes={len(CLASSES)}, fc_out_channels=64),
                  mask_head=dict(num_classes={len(CLASSES)}, num_convs=1)),
    test_cfg=dict(rpn=dict(max_per_img=20), rcnn=dict(score_thr=0.0, max_per_img=5)))
test_dataloader = dict(dataset=dict(pipeline=[
    dict(type="LoadImageFromFile"), dict(type="Resize", scale=(120, 120), keep_ratio=True),
    dict(type="PackDetInputs",
         meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"))]))
"""
SEGMENTOR = f"""
_base_ = "{ROOT}/configs/upernet/vmamba_t_160k_ade20k-512x512.py"
model = dict(
    backbone=dict(_delete_=True, type="{{backbone}}", {{arguments}}),
    decode_head=dict(in_channels={{widths}}, channels=16),
    auxiliary_head=dict(in_channels={{third}}, channels=16))
test_dataloader = dict(dataset=dict(pipeline=[
    dict(type="LoadImageFromFile"), dict(type="Resize", scale=(128, 96), keep_ratio=True),
    dict(type="PackSegInputs")]))
"""


def save_run(folder: Path, text: str, meta: dict) -> Path:
    """What a run leaves: config, checkpoint (of random weights) and a note which is the last."""
    folder.mkdir()
    (folder / "run.py").write_text(text)
    cfg = Config.fromfile(folder / "run.py")
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    torch.save(
        dict(state_dict=model.state_dict(), meta=dict(dataset_meta=meta)), folder / "epoch_1.pth"
    )
    (folder / "last_checkpoint").write_text(str(folder / "epoch_1.pth"))
    return folder


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(
        tmp_path_factory.mktemp("inspect") / "detector", DETECTOR, dict(classes=CLASSES)
    )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_shapes(
        tmp_path_factory.mktemp("shapes"), ShapesSpec(num_train=1, num_val=1, size=96)
    )
    path = next((root / "val").glob("*.png"))
    with Image.open(path) as square:
        square.crop((0, 0, 96, 72)).save(path)
    return path


def pictures(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.stem: Image.open(path).size for path in folder.glob("*.png")}


def test_all_pictures_of_a_detector(detector, image, tmp_path, capsys):
    words = f"inspect {detector} {image} --size 64 --crops 2 --pixel 90 10 --beside resnet18"
    assert main([*words.split(), "--out", str(tmp_path / "new")]) == 0
    drawn = pictures(tmp_path / "new")
    assert set(drawn) == {"scan", "attention", "features", "cam", "erf"}
    assert all(width > 900 for width, _ in drawn.values())
    told = capsys.readouterr().out
    # The last block of the stage whose cells are 16 pixels; the pixel in the network's input is
    # 112.5, 12.5.
    assert "attention: layers.2.blocks.1.op, cell 0, 7 of 6x8" in told
    assert (
        "scan: layers.3.blocks.0.op, 3x4 cells, routes row, column, row_reversed, column_reversed"
        in told
    )
    assert (
        "maps of the neck" in told
        and "VMamba, trained" in told
        and "resnet18, random weights" in told
    )


def test_untrained_without_a_detection(detector, image, tmp_path, capsys):
    words = f"inspect {detector}/run.py {image} --untrained --what scan features --stage 1"
    assert main([*words.split(), "--out", str(tmp_path)]) == 0
    assert set(pictures(tmp_path)) == {"scan", "features"}
    assert "layers.1.blocks.0.op, 12x16 cells" in capsys.readouterr().out


def test_a_segmentor_without_scans_has_the_other_pictures(image, tmp_path, capsys):
    text = SEGMENTOR.format(
        backbone="mmseg.ResNet", arguments="depth=18", widths=[64, 128, 256, 512], third=256
    )
    run = save_run(tmp_path / "segmentor", text, dict(classes=[f"thing {i}" for i in range(150)]))
    words = f"inspect {run} {image} --size 64 --crops 1"
    assert main([*words.split(), "--out", str(tmp_path)]) == 0
    assert set(pictures(tmp_path)) == {"features", "cam", "erf"}
    told = capsys.readouterr().out
    assert (
        "scan: left out, ResNet has no selective scan" in told
        and "of the pixels, maps of the backbone" in told
    )


def test_a_backbone_that_reads_all_cells_at_once_says_so(image, tmp_path, capsys):
    arguments = "arch=dict(embed_dims=8, depths=(1, 1, 1, 1), d_state=4)"
    text = SEGMENTOR.format(backbone="VSSD", arguments=arguments, widths=[8, 16, 32, 64], third=32)
    run = save_run(tmp_path / "unordered", text, dict(classes=[f"thing {i}" for i in range(150)]))
    words = ["inspect", str(run), str(image), "--size", "64", "--crops", "1", "--what"]
    for what in ("scan", "attention"):
        assert main([*words, what, "--out", str(tmp_path)]) == 2
        told = capsys.readouterr().err.strip().splitlines()[-1]
        assert told.startswith(
            "error: VSSD has no order in which it visits a map: its mixers (MapAttention, StateSum)"
        )
    assert main([*words, "erf", "--out", str(tmp_path)]) == 0
    assert set(pictures(tmp_path)) == {"erf"}


@MODELS.register_module(force=True)
class Silent(BaseModule):
    """A backbone with a scan of its own that does not tell how it walks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x_BCHW = self.stem(image)
        u_BLD = x_BCHW.flatten(2).transpose(1, 2).contiguous()
        delta_BLKD, A_KDN = u_BLD[:, :, None].sigmoid(), -torch.ones(1, 8, 1)
        ones_BLKN = torch.ones(*u_BLD.shape[:2], 1, 1)
        y_BLD = selective_scan(u_BLD, delta_BLKD, A_KDN, ones_BLKN, ones_BLKN)
        x_BCHW = y_BLD.transpose(1, 2).reshape(x_BCHW.shape)
        maps = [x_BCHW]
        for _ in range(3):
            maps.append(F.avg_pool2d(maps[-1], 2))
        return tuple(maps)


def test_scans_that_do_not_tell_their_walk_are_named(image, tmp_path, capsys):
    text = SEGMENTOR.format(backbone="Silent", arguments="", widths=[8] * 4, third=8)
    run = save_run(tmp_path / "silent", text, dict(classes=[f"thing {i}" for i in range(150)]))
    words = ["inspect", str(run), str(image), "--size", "64", "--crops", "1"]
    assert main([*words, "--out", str(tmp_path / "all")]) == 0
    assert set(pictures(tmp_path / "all")) == {"features", "cam", "erf"}
    assert "scan: left out, the scans of Silent are not known: a selective_scan runs" in (
        capsys.readouterr().out
    )
    for what in ("scan", "attention"):
        assert main([*words, "--out", str(tmp_path / "one"), "--what", what]) == 2
        told = capsys.readouterr().err.strip().splitlines()[-1]
        assert told.startswith("error: the scans of Silent are not known: a selective_scan runs")


@pytest.mark.parametrize(
    "words, message",
    [
        (["--pixel", "500", "3"], "lies outside the image"),
        (["--stage", "8", "--what", "scan"], "no scan in stage 8; there are in stages 0"),
        (["--class", "cirle", "--what", "cam"], "no class 'cirle'. Did you mean 'circle'"),
        (
            ["--detection", "70", "--what", "cam"],
            "there is no detection 70: the model finds 5 objects",
        ),
        (
            ["--beside", "resnet81", "--what", "erf"],
            "no classifier 'resnet81'. Did you mean 'resnet18'",
        ),
        (["--crops", "0", "--what", "erf"], "--crops 0"),
        (["--checkpoint", "a.pth", "--untrained"], "exclude each other"),
    ],
)
def test_wrong_input_is_one_line(detector, image, tmp_path, capsys, words, message):
    assert main(["inspect", str(detector), str(image), "--out", str(tmp_path), *words]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("error: ") and message in told


def test_no_such_image_and_no_image(detector, tmp_path, capsys):
    assert main(["inspect", str(detector), str(tmp_path / "none.jpg")]) == 2
    assert "there is no image" in capsys.readouterr().err
    (tmp_path / "text.jpg").write_text("no image")
    assert main(["inspect", str(detector), str(tmp_path / "text.jpg")]) == 2
    assert "text.jpg cannot be read as an image" in capsys.readouterr().err


def test_weights_of_the_classifier_beside(detector, image, tmp_path, capsys):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "r18.pth")
    command = f"inspect {detector} {image} --what erf --size 64 --crops 1 --out {tmp_path}"
    words = command.split()
    assert main([*words, "--beside", f"resnet18={tmp_path / 'r18.pth'}"]) == 0
    assert "resnet18, trained" in capsys.readouterr().out
    assert main([*words, "--beside", f"resnet34={tmp_path / 'r18.pth'}"]) == 2
    assert "missing" in capsys.readouterr().err


def test_help_fits_a_screen(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["inspect", "--help"])
    assert len(capsys.readouterr().out.splitlines()) <= 40
