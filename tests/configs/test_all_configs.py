"""Every config builds from an empty directory with its widths, weights and results."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from mmmamba.checkpoints import list_published
from mmmamba.models.segmentors.sigma.bare_parameters import bare_parameters
from mmmamba.models.trunks.base import MambaBackbone

from .conftest import CONFIGS, build_detector, train_step

# Those of classifiers have a test of their own, as they need mmpretrain; SUM is a network whole.
APART = {"_base_", "imagenet", "sum"}
FILES = sorted(
    file for file in CONFIGS.rglob("*.py") if not APART & set(file.relative_to(CONFIGS).parts)
)
# Whole models, in millions, as the authors print them or as the fact sheets count them by formula.
PARAMETERS = {
    "cascade_mask_rcnn/mambavision_t_3x_coco": 89.2,
    "cascade_mask_rcnn/mambavision_s_3x_coco": 107.5,
    "cascade_mask_rcnn/mambavision_b_3x_coco": 154.9,
    "mask_rcnn/vmamba_t_1x_coco": 49.755,
    "mask_rcnn/vmamba_t_s2l5_1x_coco": 50.212,
    "mask_rcnn/vmamba_s_1x_coco": 69.654,
    "mask_rcnn/vmamba_v0_t_1x_coco": 42.4,
    "mask_rcnn/vmamba_v0_s_1x_coco": 63.924,
    "mask_rcnn/vmamba_v0_b_1x_coco": 95.628,
    "mask_rcnn/localvmamba_t_1x_coco": 45,
    "mask_rcnn/localvmamba_s_1x_coco": 69,
    "mask_rcnn/localvim_t_100e-lsj_coco": 31,
    "mask_rcnn/efficientvmamba_s_1x_coco": 31,
    "mask_rcnn/efficientvmamba_b_1x_coco": 53,
    "mask_rcnn/mlla_t_1x_coco": 44,
    "mask_rcnn/mlla_s_1x_coco": 63,
    "mask_rcnn/mlla_b_1x_coco": 115,
    "mask_rcnn/mobilemamba_b1_1x_coco": 37.9,
    "mask_rcnn/msvmamba_n_1x_coco": 26.57,
    "mask_rcnn/msvmamba_m_1x_coco": 31.52,
    "mask_rcnn/msvmamba_t_1x_coco": 52.55,
    "mask_rcnn/msvmamba_v3_t_1x_coco": 51.77,
    "mask_rcnn/msvmamba_v3_s_1x_coco": 69.72,
    "mask_rcnn/spatialmamba_t_1x_coco": 46,
    "mask_rcnn/spatialmamba_s_1x_coco": 63,
    "mask_rcnn/spatialmamba_b_1x_coco": 115,
    "mask_rcnn/vssd_m_1x_coco": 33,
    "mask_rcnn/vssd_t_1x_coco": 43.91,
    "mask_rcnn/plainmamba_l1_det_1x_coco": 31.21,
    "mask_rcnn/plainmamba_l2_det_1x_coco": 53.20,
    "mask_rcnn/plainmamba_l3_det_1x_coco": 79.78,
    "retinanet/efficientvmamba_b_1x_coco": 44,
    "retinanet/mobilemamba_b1_1x_coco": 27.0,
    "retinanet/plainmamba_l1_det_1x_coco": 19.36,
    "retinanet/plainmamba_l2_det_1x_coco": 41.30,
    "retinanet/plainmamba_l3_det_1x_coco": 67.86,
    "upernet/vmamba_t_160k_ade20k-512x512": 61.902572,
    "upernet/vmamba_t_s2l5_160k_ade20k-512x512": 62.359340,
    "upernet/vmamba_s_160k_ade20k-512x512": 81.801260,
    "upernet/vmamba_b_160k_ade20k-512x512": 122.069292,
    "upernet/vmamba_v0_t_160k_ade20k-512x512": 54.546956,
    "upernet/vmamba_v0_s_160k_ade20k-512x512": 76.070924,
    "upernet/vmamba_v0_b_160k_ade20k-512x512": 109.765548,
    "upernet/mambavision_t_160k_ade20k-512x512": 62.5,
    "upernet/mambavision_s_160k_ade20k-512x512": 81.8,
    "upernet/mambavision_b_160k_ade20k-512x512": 131.2,
    "upernet/mambavision_l3_512_21k_160k_ade20k-640x640": 780.5,
    "upernet/localvmamba_t_160k_ade20k-512x512": 57,
    "upernet/localvmamba_s_160k_ade20k-512x512": 81,
    "upernet/localvim_t_160k_ade20k-512x512": 36,
    "upernet/localvim_s_160k_ade20k-512x512": 58,
    "upernet/efficientvmamba_b_160k_ade20k-512x512": 65,
    "upernet/msvmamba_m_160k_ade20k-512x512": 41.67,
    "upernet/msvmamba_t_160k_ade20k-512x512": 64.70,
    "upernet/msvmamba_v3_t_160k_ade20k-512x512": 63.92,
    "upernet/spatialmamba_t_160k_ade20k-512x512": 57,
    "upernet/spatialmamba_s_160k_ade20k-512x512": 73,
    "upernet/spatialmamba_b_160k_ade20k-512x512": 127,
    "upernet/mlla_b_160k_ade20k-512x512": 128,
    "upernet/vssd_m_160k_ade20k-512x512": 42,
    "upernet/plainmamba_l1_160k_ade20k-512x512": 35.46,
    "upernet/plainmamba_l2_160k_ade20k-512x512": 55.87,
    "upernet/plainmamba_l3_160k_ade20k-512x512": 81.29,
    "semantic_fpn/mobilemamba_b4_160k_ade20k-512x512": 19.7,
    "mim_istd/mim_istd_nuaa-sirst-512x512": 4.861617,
    "mim_istd/mim_istd_irstd-1k-512x512": 4.861617,
    "sigma/sigma_t_mfnet-480x640": 48.287360,
    "sigma/sigma_s_mfnet-480x640": 69.811328,
    "sigma/sigma_b_mfnet-480x640": 121.414820,
}


def name_of(file: Path) -> str:
    return str(file.relative_to(CONFIGS).with_suffix(""))


_BUILT: dict[str, nn.Module] = {}


def build_on_meta(cfg: Config) -> nn.Module:
    """The config's model without memory for its parameters, made once for configs that share it."""
    cfg.model.backbone.init_cfg = None
    key = repr(cfg.model)
    if key not in _BUILT:
        init_default_scope(cfg.default_scope)
        with torch.device("meta"):
            _BUILT[key] = MODELS.build(cfg.model)
    return _BUILT[key]


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_builds_with_fitting_widths(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = build_on_meta(Config.fromfile(file))
    widths = model.backbone.out_channels
    if hasattr(model, "auxiliary_head"):
        assert list(model.decode_head.in_channels) == widths
        assert model.auxiliary_head.in_channels == widths[model.auxiliary_head.in_index]
    elif not hasattr(model, "neck"):
        assert list(model.decode_head.in_channels) == widths
    else:
        taken = Config.fromfile(file).model.neck.in_channels
        assert taken == (widths[-1] if type(model.neck).__name__ == "SimpleFPN" else widths)
    if (millions := PARAMETERS.get(name_of(file))) is not None:
        digits = len(str(millions).partition(".")[2])
        assert round(sum(p.numel() for p in model.parameters()) / 1e6, digits) == millions


def test_the_table_of_parameters_names_configs() -> None:
    assert PARAMETERS.keys() <= {name_of(file) for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_named_after_its_backbone_with_its_weights_and_results(file: Path) -> None:
    cfg = Config.fromfile(file)
    arch = cfg.model.backbone.arch
    assert file.stem.startswith(f"{arch}_")
    init_cfg = cfg.model.backbone.get("init_cfg")
    # What stands in an adapter starts from the weights of the column alone, Sigma from VMamba's.
    start = arch.removesuffix("_det").replace("sigma_", "vmamba_v0_")
    files = list_published(start, "classification")
    assert (init_cfg is not None) == bool(files)
    if init_cfg is not None and not files[0].page:
        assert init_cfg.checkpoint == files[0].url
    schedule = file.stem.removeprefix(f"{arch}_").split("_")[0]
    expected = cfg.get("expected")
    for entry in list_published(arch, f"{file.parent.name}_{schedule}"):
        keys = {"box_ap": "coco/bbox_mAP", "mask_ap": "coco/segm_mAP", "miou": "mIoU"}
        scale = 1 if "miou" in entry.expected else 100
        wanted = {keys[k]: pytest.approx(v / scale) for k, v in entry.expected.items() if k in keys}
        assert dict(expected.metrics) == wanted
        if "miou_ms" in entry.expected:
            assert dict(expected.metrics_tta) == {"mIoU": entry.expected["miou_ms"]}
    if expected is not None:
        assert expected.source and expected.verified is False
        assert set(expected) <= {"metrics", "metrics_tta", "source", "verified"}


def test_sigmas_optimizer_holds_every_parameter() -> None:
    """As its authors' did not."""
    cfg = Config.fromfile(CONFIGS / "sigma/sigma_t_mfnet-480x640.py")
    model = build_on_meta(cfg)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert decay.keys() == {id(p) for p in model.parameters()}
    bare = {name for name, _ in bare_parameters(model)}
    plain = {"x_proj_weight", "dt_projs_weight"}
    for name, p in model.named_parameters():
        leaf = name.rpartition(".")[2]
        decays = leaf in plain if name in bare else leaf == "weight" and p.dim() > 1
        assert decay[id(p)] == (0.01 if decays else 0), name


def test_a_step_of_the_optimizer_takes_a_handful_of_kernels() -> None:
    """MMEngine makes a group of each parameter, of which PyTorch then updates one after another."""
    seen = set()
    for file in CONFIGS.rglob("*.py"):
        wrapper = Config.fromfile(file).get("optim_wrapper")
        if "_base_" in file.parts or wrapper is None:
            continue
        seen.add(wrapper.optimizer.type)
        assert wrapper.optimizer.get("fused") or wrapper.optimizer.type == "Lamb", file
        assert "constructor" in wrapper or "paramwise_cfg" not in wrapper, file
    assert seen == {"AdamW", "Adam", "SGD", "Lamb"}


def shrink(cfg: Config) -> Config:
    """The config with its family's smallest variant and four or three narrow maps.

    They stand in place of the published ones.
    """
    family = MODELS.get(cfg.model.backbone.type)
    assert issubclass(family, MambaBackbone)
    kept = {
        k: v
        for k, v in cfg.model.backbone.items()
        if k in ("norm", "norm_eval", "features", "pyramid")
    }
    cfg.model.backbone = dict(type=cfg.model.backbone.type, **family.TINY, **kept)
    widths = family(**family.TINY, **kept).out_channels
    if "neck" in cfg.model:
        cfg.model.neck.in_channels = widths[-1] if cfg.model.neck.type == "SimpleFPN" else widths
    else:
        cfg.model.decode_head.update(in_channels=widths, channels=32)
        cfg.model.auxiliary_head.update(
            in_channels=widths[cfg.model.auxiliary_head.in_index], channels=16
        )
    if "decode_head" in cfg.model:
        cfg.model.data_preprocessor.size = (64, 64)
    stages = cfg.model.train_cfg.get("rcnn", [])
    for stage in stages if isinstance(stages, list) else [stages]:
        stage.sampler.num = 16
    return cfg


@pytest.mark.parametrize(
    ("name", "losses"),
    [
        ("cascade_mask_rcnn/vmamba_t_1x_coco", {"s0.loss_bbox", "s2.loss_mask", "loss_rpn_cls"}),
        ("cascade_mask_rcnn/vim_t_100e-lsj_coco", {"s0.loss_bbox", "s2.loss_mask", "loss_rpn_cls"}),
        ("mask_rcnn/localvim_t_100e-lsj_coco", {"loss_bbox", "loss_mask"}),
        ("mask_rcnn/mobilemamba_b1_1x_coco", {"loss_bbox", "loss_mask"}),
        ("retinanet/efficientvmamba_t_1x_coco", {"loss_cls", "loss_bbox"}),
        ("retinanet/mobilemamba_b1_1x_coco", {"loss_cls", "loss_bbox"}),
    ],
)
def test_a_detector_of_each_kind_trains_a_step(name: str, losses: set[str]) -> None:
    cfg = Config.fromfile(CONFIGS / f"{name}.py")
    init_default_scope("mmdet")
    found = train_step(cfg, revert_sync_batchnorm(build_detector(shrink(cfg))))
    assert set(found) >= losses and all(torch.isfinite(value).all() for value in found.values())


@pytest.mark.parametrize(
    "name",
    [
        "upernet/vmamba_t_160k_ade20k-512x512",
        "upernet/localvim_t_160k_ade20k-512x512",
        "upernet/vim_t_160k_ade20k-512x512",
        "semantic_fpn/mobilemamba_b4_160k_ade20k-512x512",
        "cityscapes/vmamba_t_160k_cityscapes-512x1024",
    ],
)
def test_a_segmentor_of_each_kind_trains_a_step(name: str) -> None:
    cfg = Config.fromfile(CONFIGS / f"{name}.py")
    init_default_scope("mmseg")
    model = revert_sync_batchnorm(MODELS.build(shrink(cfg).model)).train()
    samples = []
    for _ in range(2):
        samples.append(
            SegDataSample(
                gt_sem_seg=PixelData(data=torch.randint(0, 19, (1, 64, 64))),
                metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64)),
            )
        )
    data = dict(
        inputs=[torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)] * 2, data_samples=samples
    )
    losses = model.train_step(
        data, build_optim_wrapper(model, dict(cfg.optim_wrapper, type="OptimWrapper"))
    )
    assert {"decode.loss_ce", *(["aux.loss_ce"] if "auxiliary_head" in cfg.model else [])} <= set(
        losses
    )
    assert all(torch.isfinite(value).all() for value in losses.values())


def test_vims_learning_rate_falls_towards_the_image() -> None:
    cfg = Config.fromfile(CONFIGS / "cascade_mask_rcnn/vim_t_100e-lsj_coco.py")
    model = build_on_meta(cfg)
    optimizer = build_optim_wrapper(model, dict(cfg.optim_wrapper, type="OptimWrapper")).optimizer
    names = {id(p): name for name, p in model.named_parameters()}
    groups = {names[id(p)]: group for group in optimizer.param_groups for p in group["params"]}
    last, first = (
        groups["backbone.layers.23.mixer.in_proj.weight"],
        groups["backbone.layers.1.mixer.in_proj.weight"],
    )
    assert last["lr"] == pytest.approx(1e-4 * 0.837) and last["weight_decay"] == 0.1
    assert first["lr"] == pytest.approx(1e-4 * 0.837**23)
    norm = groups["backbone.layers.23.norm.weight"]
    assert norm["lr"] == last["lr"] and norm["weight_decay"] == 0
    assert groups["backbone.tokens.pos_embed"]["lr"] == pytest.approx(1e-4 * 0.837**25)
    assert groups["neck.levels.0.1.weight"]["lr"] == 1e-4
