"""ImageNet recipes: what each config builds, and its rates, beside the authors' numbers."""

import math
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

pytest.importorskip("mmpretrain")

import mmpretrain.datasets  # noqa: F401  its transforms
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, DefaultScope
from PIL import Image

import mmmamba.classification  # noqa: F401
from mmmamba.checkpoints.catalogue import published_sizes
from mmmamba.config.find import weights_of
from mmmamba.config.open import open_config
from mmmamba.models.trunks.base import MambaBackbone

FOLDER = Path(__file__).parents[2] / "configs" / "imagenet"
FILES = sorted(FOLDER.glob("*.py"))
STEPS = 4
"""Iterations of an epoch, where rates are followed."""


class Numbers(NamedTuple):
    """What a fact sheet says of a recipe."""

    lr: float = 1e-3
    decay: float = 0.05
    batch: int = 1024
    warmup: int = 20
    start: float = 1e-6
    """The rate of the first iteration."""
    end: float = 1e-5
    """The rate of the last one."""
    clip: float | None = 5.0
    average: float | None = 0.9999
    """How much of the average stays from step to step."""
    drop_path: float = 0.2
    epochs: int = 300
    precision: str = "float16"
    mesa: float | None = None
    """The weight of what the average teaches from a quarter of the training on."""


SWIN = Numbers()
LOCAL = Numbers(decay=0.04, start=1e-7, end=1e-6)
LOCALVIM = LOCAL._replace(clip=None, drop_path=0.1, precision="float32")
EFFICIENT = Numbers(lr=2e-3, decay=0.04, batch=2048, start=1e-7, end=1e-6, clip=1.0, drop_path=0.1)
VIM_T = Numbers(decay=0.1, warmup=5, clip=None, average=0.99996, drop_path=0.0, precision="float32")
VIM_S = VIM_T._replace(decay=0.05, batch=512, drop_path=0.05)
STRIDE_8 = VIM_T._replace(lr=1e-5, decay=1e-8, warmup=0, epochs=30)
LAMB = Numbers(lr=5e-3, batch=4096, start=5e-6, average=0.9998, epochs=310, mesa=0.5)
MOBILE = Numbers(lr=3e-3, start=3e-6, end=3e-5, average=0.9998, drop_path=0.0)
MOBILE_B = MOBILE._replace(drop_path=0.03)
PLAIN = Numbers(lr=2e-3, batch=2048, warmup=20, start=2e-6, end=2e-5, clip=1.0, precision="float32")
LOW = Numbers(lr=6e-4, end=6e-6)
HALF = Numbers(lr=5e-4, batch=512, start=5e-7, end=5e-6, average=0.99995)
REGISTERS = Numbers(warmup=5, clip=None, average=None, drop_path=0.1, precision="bfloat16")
MIDDLE = REGISTERS._replace(lr=4e-4, drop_path=0.4, epochs=100)
TUNED = REGISTERS._replace(lr=1e-5, decay=0.1, batch=512, drop_path=0.4, epochs=20)

RECIPES = {
    "vmamba_t_300e": SWIN,
    "vmamba_t_s2l5_300e": SWIN,
    "vmamba_s_300e": SWIN._replace(drop_path=0.3),
    "vmamba_s_s1l20_300e": SWIN._replace(drop_path=0.3),
    "vmamba_b_300e": SWIN._replace(drop_path=0.6),
    "vmamba_b_s1l20_300e": SWIN._replace(drop_path=0.5),
    "vmamba_v0_t_300e": SWIN._replace(average=None),
    "vmamba_v0_s_300e": SWIN._replace(drop_path=0.3),
    "vmamba_v0_b_300e": SWIN._replace(drop_path=0.6),
    "mambavision_t_310e": LAMB,
    "mambavision_t2_310e": LAMB,
    "mambavision_s_310e": LAMB,
    "mambavision_b_310e": LAMB._replace(decay=0.075, warmup=35, drop_path=0.3),
    "mambavision_l_310e": LAMB._replace(decay=0.12, drop_path=0.3),
    "mambavision_l2_310e": LAMB._replace(decay=0.12, drop_path=0.3),
    "localvmamba_t_300e": LOCAL,
    "localvmamba_s_300e": LOCAL,
    "localvim_t_300e": LOCALVIM,
    "localvim_t_midcls_300e": LOCALVIM,
    "localvim_t_wo_search_300e": LOCALVIM,
    "localvim_s_300e": LOCALVIM,
    "localvim_s_wo_search_300e": LOCALVIM,
    "vim_t_300e": VIM_T,
    "vim_s_300e": VIM_S,
    "vim_b_300e": VIM_S,
    "vim_t_stride8_30e": STRIDE_8,
    "vim_s_stride8_30e": STRIDE_8,
    "efficientvmamba_t_300e": EFFICIENT,
    "efficientvmamba_s_300e": EFFICIENT,
    "efficientvmamba_b_300e": EFFICIENT._replace(batch=1024),
    "groupmamba_t_300e": SWIN._replace(drop_path=0.05),
    "groupmamba_t_300e-distilled": SWIN._replace(drop_path=0.05),
    "groupmamba_s_300e-distilled": SWIN._replace(drop_path=0.05),
    "groupmamba_b_300e-distilled": SWIN._replace(drop_path=0.05),
    "mlla_t_300e": SWIN._replace(mesa=1.0),
    "mlla_s_300e": HALF._replace(drop_path=0.3, mesa=1.5),
    "mlla_b_300e": HALF._replace(drop_path=0.5, mesa=2.0),
    "msvmamba_n_300e": SWIN,
    "msvmamba_m_300e": SWIN,
    "msvmamba_t_300e": SWIN,
    "msvmamba_v3_t_300e": SWIN,
    "msvmamba_v3_s_300e": SWIN._replace(drop_path=0.4),
    "msvmamba_v3_b_300e": LOW._replace(drop_path=0.5),
    "mambar_t_300e": REGISTERS,
    "mambar_s_300e": REGISTERS,
    "mambar_s_100e": MIDDLE,
    "mambar_s_20e": TUNED,
    "mambar_b_300e": REGISTERS,
    "mambar_b_100e": MIDDLE,
    "mambar_b_20e": TUNED,
    "mambar_l_300e": REGISTERS,
    "mambar_l_100e": MIDDLE,
    "mambar_l_20e": TUNED,
    "mobilemamba_t2_300e": MOBILE,
    "mobilemamba_t2_1000e-distilled": MOBILE._replace(epochs=1000),
    "mobilemamba_t4_300e": MOBILE,
    "mobilemamba_t4_1000e-distilled": MOBILE._replace(epochs=1000),
    "mobilemamba_s6_300e": MOBILE,
    "mobilemamba_s6_1000e-distilled": MOBILE._replace(epochs=1000),
    "mobilemamba_b1_300e": MOBILE_B,
    "mobilemamba_b1_1000e-distilled": MOBILE_B._replace(epochs=1000),
    "mobilemamba_b2_300e": MOBILE_B,
    "mobilemamba_b2_1000e-distilled": MOBILE_B._replace(epochs=1000),
    "mobilemamba_b4_300e": MOBILE_B,
    "mobilemamba_b4_1000e-distilled": MOBILE_B._replace(epochs=1000),
    "plainmamba_l1_300e": PLAIN._replace(warmup=15, clip=5.0, average=None, precision="float16"),
    "plainmamba_l2_300e": PLAIN,
    "plainmamba_l3_300e": PLAIN._replace(lr=1e-3, batch=1024, start=1e-6, end=1e-5, drop_path=0.4),
    "spatialmamba_t_300e": SWIN._replace(mesa=1.0),
    "spatialmamba_s_300e": SWIN._replace(drop_path=0.3, mesa=1.5),
    "spatialmamba_b_300e": SWIN._replace(drop_path=0.5, mesa=2.0),
    "vssd_m_300e": SWIN,
    "vssd_t_300e": SWIN,
    "vssd_s_300e": LOW._replace(drop_path=0.4),
    "vssd_b_300e": LOW._replace(drop_path=0.6),
    "vssd_t_300e-mesa": SWIN._replace(mesa=1.0),
    "vssd_s_300e-mesa": LOW._replace(drop_path=0.4, mesa=1.5),
    "vssd_b_300e-mesa": LOW._replace(drop_path=0.6, mesa=2.0),
    "vim_f_t_300e": VIM_T,
    "vim_f_s_300e": VIM_S,
    "vim_f_v1_t_300e": VIM_T,
    "vim_f_v1_s_300e": VIM_S,
}
# Of each family the one that differs most from the shared schedule; all are slow.
SAMPLED = {
    "vmamba_v0_t",
    "mambavision_b",
    "localvim_t",
    "vim_s",
    "efficientvmamba_b",
    "mlla_s",
    "msvmamba_v3_b",
    "mambar_b",
    "mobilemamba_b4",
    "plainmamba_l3",
    "vssd_s",
    "vim_f_t",
}
TEACHERS = {
    "groupmamba": ("regnety_160.deit_in1k", "hard", 0.5),
    "mobilemamba": ("tresnet_v2_l.miil_in21k_ft_in1k", "soft", 1.0, 5.0, 1.0),
}
"""Kind, then temperature where there is one, weight, and the labels' weight where it is stated."""
# Stages of Mamba-R that lead to another.
UNFINISHED = {f"mambar_{size}_{epochs}" for size in "sbl" for epochs in ("300e", "100e")}
WITHOUT_TEACHER = {"groupmamba_t_300e": 82.5}
"""From the table of ablations: the weights that were published had one."""


def arch_of(name: str) -> str:
    return name.rpartition("_")[0]


def by_sampling(name: str) -> object:
    sampled = arch_of(name) in SAMPLED
    return pytest.param(name, marks=() if sampled else pytest.mark.slow)


@cache
def opened(name: str) -> Config:
    (file,) = (f for f in FILES if f.stem.rpartition("_imagenet")[0] == name)
    return open_config(file)


def built(cfg: Config) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """The classifier without memory for its weights, and its optimizer."""
    settings = dict(cfg.model, backbone=dict(cfg.model.backbone, init_cfg=None))
    amp = {"type", "dtype", "loss_scale"}
    wrapper = {key: value for key, value in cfg.optim_wrapper.items() if key not in amp}
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        with torch.device("meta"):
            model = MODELS.build(settings)
        return model, build_optim_wrapper(model, wrapper).optimizer


def rates(cfg: Config, optimizer: torch.optim.Optimizer) -> list[float]:
    """The rate of every iteration, for epochs of few of them."""
    by_iteration, by_epoch = [], []
    for settings in map(dict, cfg.param_scheduler or []):
        kind = PARAM_SCHEDULERS.get(settings.pop("type"))
        if settings.pop("convert_to_iter_based", False):
            made = kind.build_iter_from_epoch(optimizer, epoch_length=STEPS, **settings)
            by_iteration.append(made)
        else:
            by_epoch.append(kind(optimizer, **settings))
    found = []
    for _ in range(cfg.train_cfg.max_epochs):
        for _ in range(STEPS):
            found.append(optimizer.param_groups[0]["lr"])
            for scheduler in by_iteration:
                scheduler.step()
        for scheduler in by_epoch:
            scheduler.step()
    return found


@pytest.mark.parametrize("name", [by_sampling(name) for name in RECIPES])
def test_numbers(name: str) -> None:
    cfg, wanted = opened(name), RECIPES[name]
    model, optimizer = built(cfg)
    assert model.backbone.is_classifier and cfg.model.backbone.arch == arch_of(name)
    assert cfg.model.backbone.drop_path_rate == wanted.drop_path
    assert cfg.auto_scale_lr.base_batch_size == wanted.batch
    # By a number of GPUs that there is.
    assert wanted.batch // cfg.train_dataloader.batch_size in (4, 8, 16, 32)
    wrapper = cfg.optim_wrapper
    half = "float32" if wrapper.type == "OptimWrapper" else wrapper.get("dtype", "float16")
    assert half == wanted.precision
    assert (wrapper.clip_grad and wrapper.clip_grad.max_norm) == wanted.clip
    averages = [1 - hook.momentum for hook in cfg.custom_hooks if hook.type == "EMAHook"]
    assert averages == ([] if wanted.average is None else [pytest.approx(wanted.average)])
    mesa = [(hook.weight, hook.begin) for hook in cfg.custom_hooks if hook.type == "MESAHook"]
    assert mesa == ([] if wanted.mesa is None else [(wanted.mesa, 0.25)])
    if teacher := cfg.model.get("teacher"):
        teacher = (teacher.model, *cfg.model.distillation.values())
    assert teacher == TEACHERS.get(name.partition("_")[0] if "distilled" in name else "")
    assert type(optimizer).__name__ == ("Lamb" if "mambavision" in name else "AdamW")
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    names = dict(model.named_parameters())
    for parameter, value in names.items():
        end = parameter.rpartition(".")[2]
        free = value.ndim == 1 or end in ("bias", "pos_embed", "pos_embed_cls", "cls_token")
        # PlainMamba alone spares what its scans learn of steps and directions.
        free |= name.startswith("plainmamba") and end in ("A_log", "direction_Bs")
        if value.requires_grad:
            assert groups[id(value)]["weight_decay"] == (0 if free else wanted.decay), parameter
    found = rates(cfg, optimizer)
    assert len(found) == wanted.epochs * STEPS
    warm, last = wanted.warmup * STEPS, len(found) - 1
    assert found[0] == pytest.approx(wanted.start if warm else wanted.lr)
    assert max(found) == pytest.approx(wanted.lr)
    assert found[warm] == pytest.approx(wanted.lr, rel=0.01)
    assert found[last] == pytest.approx(wanted.end, rel=0.1)
    middle = found[(warm + last) // 2]
    assert middle == pytest.approx((wanted.lr + wanted.end) / 2, rel=0.02)


def test_every_recipe_has_its_numbers() -> None:
    assert sorted(RECIPES) == sorted(f.stem.rpartition("_imagenet")[0] for f in FILES)
    assert {arch_of(name) for name in RECIPES} >= SAMPLED


@pytest.mark.parametrize("name", [by_sampling(name) for name in RECIPES])
def test_expects_the_published_accuracy(name: str) -> None:
    expected = opened(name).get("expected")
    if name in UNFINISHED:
        assert expected is None
        return
    assert expected.source and expected.verified is False
    arch = arch_of(name)
    files = weights_of(Path(opened(name).filename), arch)
    assert all(file.name == arch and file.task.startswith("classification") for file in files)
    assert ("mesa" in name) == any(file.task == "classification_mesa" for file in files)
    known = files[0].expected["top1"] if files else published_sizes()[arch].top1
    assert dict(expected.metrics) == {"accuracy/top1": WITHOUT_TEACHER.get(name, known)}


@pytest.mark.parametrize("name", [by_sampling(name) for name in RECIPES])
def test_sides_of_images(name: str) -> None:
    cfg = opened(name)
    side = 128 if name in UNFINISHED and "300e" in name else published_sizes()[arch_of(name)].size
    train, test = cfg.train_dataloader.dataset.pipeline, cfg.val_dataloader.dataset.pipeline
    assert train[1].scale == side and test[2].crop_size == side
    margins = {"mambavision_t2": 0.98, "mambavision_s": 0.93}
    whole = name.startswith(("mambar", "mambavision"))
    share = margins.get(arch_of(name), 1.0 if whole else 0.875)
    assert test[1].scale == int(side / share)
    assert cfg.test_dataloader.dataset.pipeline == test


@pytest.mark.parametrize("name", ["vmamba_t_300e", "vim_t_300e", "mambar_b_300e"])
def test_a_classifier_learns_from_augmented_images(name: str, tmp_path: Path) -> None:
    cfg = opened(name)
    Image.effect_noise((80, 60), 64).convert("RGB").save(tmp_path / "noise.png")
    family = MODELS.get(cfg.model.backbone.type)
    assert issubclass(family, MambaBackbone)
    tiny = dict(type=cfg.model.backbone.type, **family.TINY, classifier=True, num_classes=1000)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        pipeline = Compose(cfg.train_dataloader.dataset.pipeline)
        model = MODELS.build(dict(cfg.model, backbone=tiny))
    given = [pipeline(dict(img_path=str(tmp_path / "noise.png"), gt_label=n)) for n in (3, 999)]
    side = tiny["arch"].get("img_size", 64)
    images = torch.stack([one["inputs"][:, :side, :side] for one in given])
    data = model.data_preprocessor(
        dict(inputs=images, data_samples=[one["data_samples"] for one in given]), training=True
    )
    loss = model(**data, mode="loss")["loss"]
    loss.backward()
    assert loss.item() == pytest.approx(math.log(1000), rel=0.2)
