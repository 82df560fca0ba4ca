"""ImageNet recipes: what each config builds, and its rates, beside the authors' numbers."""

import math
from functools import cache
from pathlib import Path

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

from .recipe_numbers import RECIPES

FOLDER = Path(__file__).parents[2] / "configs" / "imagenet"
# Those of other images, and Mamba-ND's, whose rates fall from block to block, stand apart.
FILES = sorted(set(FOLDER.glob("*_imagenet*.py")) - set(FOLDER.glob("mamba_nd_*")))
STEPS = 4
"""Iterations of an epoch, where rates are followed."""


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
    "simba_l_einfft",
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
TOKEN_LABELS = ("simba", "heracles")
"""Whose figures had them, and are not expected without."""


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
    warm, last = wanted.warmup * STEPS, len(found) - 1 - wanted.cooldown * STEPS
    assert found[0] == pytest.approx(wanted.start if warm else wanted.lr)
    assert max(found) == pytest.approx(wanted.lr)
    assert found[warm] == pytest.approx(wanted.lr, rel=0.01)
    assert found[last] == pytest.approx(wanted.end, rel=0.1)
    assert found[last:] == pytest.approx([wanted.end] * (len(found) - last), rel=0.1)
    middle = found[(warm + last) // 2]
    assert middle == pytest.approx((wanted.lr + wanted.end) / 2, rel=0.02)


def test_every_recipe_has_its_numbers() -> None:
    assert sorted(RECIPES) == sorted(f.stem.rpartition("_imagenet")[0] for f in FILES)
    assert {arch_of(name) for name in RECIPES} >= SAMPLED


@pytest.mark.parametrize("name", [by_sampling(name) for name in RECIPES])
def test_expects_the_published_accuracy(name: str) -> None:
    expected = opened(name).get("expected")
    if name in UNFINISHED or name.startswith(TOKEN_LABELS):
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
