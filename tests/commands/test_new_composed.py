"""Backbones under heads that no shipped config has them under: ours, mmdet's and mmseg's."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from benchmarks.drop_in.compose import MMDET, MMSEG, compose_and_build, with_classes
from mmmamba.commands import main
from mmmamba.commands.new.classes import counted
from mmmamba.commands.new.heads import HEADS, base_config, reference, shipped_heads
from mmmamba.config.foreign import foreign_path
from mmmamba.config.methods import METHODS, NEEDS, refused
from mmmamba.errors import UsageError
from mmmamba.models.drop_in import compose
from mmmamba.models.drop_in.families import NO_DECAY

# A network small enough to train within a test, on images of the size that they are drawn in.
TINY = """
_base_ = "./mine.py"
model = dict(
    backbone=dict(_delete_=True, type="VMamba", arch=dict(embed_dims=16, depths=(1, 1, 1, 1))),
    neck=dict(in_channels=[16, 32, 64, 128]),
)
train_dataloader = dict(num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
"""


def plain(value):
    """Lists and tuples alike, and dicts without the config's class."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize(
    ("backbone", "head"),
    [
        ("vmamba_b", "mask_rcnn"),
        ("mambavision_b", "upernet"),
        ("efficientvmamba_t", "yolox"),
        ("spatialmamba_b", "mask_rcnn"),
        ("plainmamba_l2_det", "retinanet"),
        ("vim_f_t", "mask_rcnn"),
    ],
)
def test_a_composed_model_is_the_shipped_one(backbone: str, head: str) -> None:
    shipped = Config.fromfile(shipped_heads()[backbone][head])
    composed = compose(Config.fromfile(reference(backbone, head)), backbone)
    assert plain(composed.model.to_dict()) == plain(shipped.model.to_dict())
    for key in ("lr", "weight_decay"):
        assert composed.optim_wrapper.optimizer[key] == shipped.optim_wrapper.optimizer[key]


@pytest.mark.parametrize(
    ("backbone", "head"),
    [
        ("vmamba_t", "retinanet"),
        ("vim_s", "yolox"),
        ("mobilemamba_t2", "cascade_mask_rcnn"),
        ("mambar_t", "semantic_fpn"),
        ("mlla_t", "mask2former"),
        ("plainmamba_l1", "dino"),
        ("vssd_b", "mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512"),
    ],
)
def test_pairs_that_build(backbone: str, head: str) -> None:
    compose_and_build(backbone, head)


@pytest.mark.slow
# After so little there may be no box to score.
@pytest.mark.filterwarnings("ignore:Skip early stopping")
def test_a_head_of_mmdet_trains_to_ap(
    shapes: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = "--backbone vmamba_t --head mmdet::faster_rcnn --length 1 --batch-size 2 --out mine.py"
    assert main(["new", *words.split(), "--data", str(shapes / "shapes")]) == 0
    assert main(["check-data", "mine.py", "--samples", "0"]) == 0
    Path("tiny.py").write_text(TINY)
    small = [
        "train_dataloader.dataset.pipeline.2.scale=(64,64)",
        "val_dataloader.dataset.pipeline.1.scale=(64,64)",
        "default_hooks.visualization.draw=False",
    ]
    assert main(["train", "tiny.py", "--cfg-options", *small]) == 0
    assert Path("work_dirs/tiny/epoch_1.pth").is_file() and "bbox_mAP" in capsys.readouterr().out


def write(head: str, data: Path, out: Path, backbone: str = "vmamba_t") -> Config:
    assert (
        main(
            ["new", "--backbone", backbone, "--head", head, "--data", str(data), "--out", str(out)]
        )
        == 0
    )
    return Config.fromfile(out)


def test_masks_and_classes_of_mask2former(shapes: Path, tmp_path: Path) -> None:
    """The data says whose it is; its query head counts no stuff, and one class more: nothing."""
    cfg = write("mask2former", shapes / "shapes", tmp_path / "m.py")
    head = cfg.model.panoptic_head
    assert (head.num_things_classes, head.num_stuff_classes) == (3, 0)
    assert head.loss_cls.class_weight == [1.0] * 3 + [0.1]
    composed = base_config("vmamba_t", "mmdet::mask2former").config.to_dict()["model"]
    assert plain(cfg.model.to_dict()) == plain(with_classes(counted(composed)))
    assert "dynamic_intervals" not in cfg.train_cfg or cfg.train_cfg.dynamic_intervals is None
    assert write("mask2former", shapes / "maps", tmp_path / "s.py").default_scope == "mmseg"


def test_data_sets_within_others(shapes: Path, tmp_path: Path) -> None:
    mosaic = write("mmdet::yolox", shapes / "shapes", tmp_path / "y.py").train_dataloader.dataset
    assert mosaic.type == "MultiImageMixDataset" and mosaic.dataset.metainfo.classes[0] == "circle"
    cfg = write("cityscapes", shapes / "shapes", tmp_path / "c.py")
    assert cfg.train_dataloader.dataset.type == "CocoDataset" and cfg.load_from is None
    assert cfg.val_evaluator.type == "CocoMetric" and cfg.val_evaluator.metric == ["bbox", "segm"]


def test_pipelines_that_ignore_label_0(shapes: Path, tmp_path: Path) -> None:
    cfg = write("mmseg::fcn", shapes / "maps", tmp_path / "f.py")
    (step,) = [
        one for one in cfg.train_dataloader.dataset.pipeline if one.type == "LoadAnnotations"
    ]
    assert step.reduce_zero_label is cfg.train_dataloader.dataset.reduce_zero_label is False


def test_the_recipe_of_a_family() -> None:
    """SGD gives way; the backbone's norms are not decayed, whatever else its rate is."""
    fcos = base_config("mambavision_b", "fcos").config
    assert fcos.optim_wrapper.optimizer.type == "AdamW"
    assert fcos.optim_wrapper.optimizer.lr == 2e-4
    assert fcos.optim_wrapper.paramwise_cfg == dict(custom_keys=NO_DECAY)
    assert fcos.model.backbone.window_size == (8, 8, 112, 56)
    dino = base_config("spatialmamba_t", "dino").config.optim_wrapper
    assert dino.optimizer.lr == 1e-4 and dino.clip_grad.max_norm == 0.1
    keys = dino.paramwise_cfg.custom_keys
    assert keys["backbone"] == dict(lr_mult=0.1)
    undecayed = [name for name in keys if keys[name].get("decay_mult") == 0.0]
    assert undecayed and all(keys[name]["lr_mult"] == 0.1 for name in undecayed)
    # SpatialMamba's authors decay the norms within blocks.
    assert not any(".norm1." in name for name in undecayed)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("tridentnet", "bound to ResNet"),
        ("maskformer", "panoptic annotations; mask2former"),
        ("mmdet::qdtrack", "learns from videos"),
        ("mmdet::htc/htc_r50_fpn_1x_coco", "label maps of stuff"),
        ("mmdet::dino/dino-4scale_r51_8xb2-12e_coco", "Did you mean 'dino/dino-4scale_r50"),
        ("mmcls::resnet", "wanted mmdet::… or mmseg::…"),
        ("dino/dino-4scale_r50_8xb2-12e_coco", "say whose it is, mmdet::dino"),
    ],
)
def test_what_is_refused_says_why(head: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        base_config("vmamba_t", head)


def test_names_of_configs() -> None:
    path = foreign_path("mmdet", "dino")
    assert path == foreign_path("mmdet", "dino/dino-4scale_r50_8xb2-12e_coco.py")
    assert path == foreign_path("mmdet", "dino-4scale_r50_8xb2-12e_coco")


@pytest.mark.slow
# Their own parts are of several ages.
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("package", ["mmdet", "mmseg"])
def test_every_method_composes_or_is_refused(package: str) -> None:
    for method in METHODS[package]:
        needed = NEEDS.get(f"{package}/{method}")
        if refused(f"{package}/{method}") or (needed and find_spec(needed) is None):
            with pytest.raises(UsageError):
                base_config("vmamba_t", f"{package}::{method}")
        else:
            compose_and_build("vmamba_t", f"{package}::{method}")


@pytest.mark.slow
@pytest.mark.parametrize("head", [*HEADS, *MMDET, *MMSEG])
@pytest.mark.parametrize("backbone", ["vmamba_t", "mambavision_s", "vim_t", "plainmamba_l1_det"])
def test_the_heads_of_the_promise(backbone: str, head: str) -> None:
    if head == "mamba_yolo":
        pytest.skip("for its own backbones")
    needed = NEEDS.get(f"mmdet/{head}")
    if needed and find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    with torch.random.fork_rng():
        compose_and_build(backbone, head)
