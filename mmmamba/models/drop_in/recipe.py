"""A config with another backbone, trained as that backbone's family is."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from ...config.quick_optimizer import quicken_optimizer
from ..backbones import list_backbones
from ..backbones.factory import family_of
from .families import Family, backbone_arguments, family_rules
from .rules import drop_in, part_with_backbone

YOLO_NECKS = ("YOLOXPAFPN", "CSPNeXtPAFPN", "MambaYOLOPAFPN")
USUAL = {
    "detector": (dict(type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05), 16),
    "yolo": (dict(type="AdamW", lr=1e-3, weight_decay=0.05), 256),
    "segmentor": (dict(type="AdamW", lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01), 16),
}
"""Optimizer by task, and the images of a step that its rate is for: those of `configs/_base_`."""
WARM_UP = 1500
"""Steps of a segmentor, whose recipes for SGD have none."""
OF_OTHERS = ("absolute_pos_embed", "relative_position_bias_table", "pos_block", "backbone.")
"""What keys of an optimizer begin with that name parts of the old backbone."""
LAYER = re.compile(r"backbone\.layers\.(\d+)\.$")


def task_of(cfg: Config) -> str:
    """What a config trains, as `families.TASKS` calls it."""
    part = part_with_backbone(cfg.model)
    if "decode_head" in part:
        return "segmentor"
    neck = part.get("neck")
    return "yolo" if isinstance(neck, dict) and neck.get("type") in YOLO_NECKS else "detector"


def compose(base: Config, arch: str) -> Config:
    """A copy of a config with one of our backbones, and trained as the rules of its family say.

    The backbone gets its maps and widths (`drop_in`), its drop path and weights (`families`), and
    the optimizer its parameter groups. SGD, with which none of these backbones was trained, becomes
    AdamW; what stands in another recipe for AdamW stays.

    Raises:
        UsageError: the model takes no other backbone, or not this one, with the reason.
        ValueError: there is no such backbone.
    """
    task = task_of(base)
    cfg = drop_in(base, arch, **backbone_arguments(arch, task))
    old = part_with_backbone(base.model).backbone.get("arch")
    # Configs of other packages know an `arch` of their own.
    old = old if old in list_backbones() else None
    schedulers = cfg.get("param_scheduler") or []
    cfg.param_scheduler = list(_whole(schedulers, cfg.get("train_cfg") or {}))
    if cfg.get("optim_wrapper"):
        _set_optimizer(cfg, arch, task, old)
        quicken_optimizer(cfg.optim_wrapper)
    _sync_norms(cfg.model)
    if cfg.get("load_from"):
        # A whole model with the old backbone.
        cfg.load_from = None
    return cfg


def _sync_norms(node: Any) -> None:
    """Norms over all GPUs that one process can build, too: mmdet's own asks for a group of them."""
    if isinstance(node, dict):
        if node.get("type") == "MMSyncBN":
            node["type"] = "SyncBN"
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for one in node:
            _sync_norms(one)


def _set_optimizer(cfg: Config, arch: str, task: str, old: str | None) -> None:
    wrapper, rules = cfg.optim_wrapper, family_rules(arch)
    before = wrapper.optimizer.lr
    if old is None and wrapper.optimizer.type != "AdamW":
        _take_usual(cfg, task)
    usual = old is not None or wrapper.optimizer.lr != before
    factor = _factor(rules, arch, task) if usual else 1.0
    if old is not None:
        factor /= _factor(family_rules(old), old, task)
    wrapper.optimizer.lr = float(f"{wrapper.optimizer.lr * factor:.3g}")
    for entry in cfg.param_scheduler:
        if entry.get("eta_min"):
            entry["eta_min"] *= wrapper.optimizer.lr / before
    keys = (wrapper.get("paramwise_cfg") or {}).get("custom_keys") or {}
    if any(LAYER.match(key) for key in keys):
        wrapper.paramwise_cfg.custom_keys = _layer_rates(keys, arch)
        return
    if old is not None and family_of(old) is family_of(arch):
        return
    if rules.clip_grad and task == "detector" and not wrapper.get("clip_grad"):
        wrapper.clip_grad = dict(max_norm=rules.clip_grad)
    wrapper.paramwise_cfg = _paramwise(wrapper, rules, part_with_backbone(cfg.model).backbone)
    if "Decay" in str(wrapper.get("constructor")):
        # It counts the old backbone's layers.
        wrapper.pop("constructor")


def _take_usual(cfg: Config, task: str) -> None:
    """The recipe of `configs/_base_`, in place of one for SGD."""
    optimizer, images = USUAL[task]
    cfg.optim_wrapper.optimizer = copy.deepcopy(optimizer)
    # MMEngine's constructor would take them for those of the new optimizer.
    cfg.optim_wrapper.pop("paramwise_cfg", None)
    cfg.auto_scale_lr = dict(enable=False, base_batch_size=images)
    if task == "segmentor" and "max_iters" in cfg.train_cfg:
        length = cfg.train_cfg.max_iters
        start = min(WARM_UP, length // 10)
        cfg.param_scheduler = [
            dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=start),
            dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=start, end=length),
        ]


def _factor(rules: Family, arch: str, task: str) -> float:
    return rules.of(rules.rate, arch, task) or 1.0


def _paramwise(wrapper: dict, rules: Family, backbone: dict) -> dict[str, Any]:
    """The parameter groups: the recipe's for neck and heads, the family's for the backbone."""
    given = dict(wrapper.get("paramwise_cfg") or {})
    if "Decay" in str(wrapper.get("constructor")):
        given = {}
    keys = {
        key: dict(value)
        for key, value in (given.pop("custom_keys", None) or {}).items()
        if not key.startswith(OF_OTHERS)
    }
    if "backbone" in keys:
        # MMEngine takes the longest key that a name holds: `norm` would lose against `backbone`.
        rate = {key: keys["backbone"][key] for key in ("lr_mult",) if key in keys["backbone"]}
        keys |= {name: dict(decay_mult=0.0, **rate) for name in undecayed(backbone, rules)}
    else:
        # Recipes that keep all norms from decay need no key for them.
        known = {"norm"} if given.get("norm_decay_mult") == 0 else set()
        keys |= {k: dict(v) for k, v in rules.decay.items() if k not in keys and k not in known}
    return given | ({"custom_keys": keys} if keys else {})


def undecayed(backbone: dict, rules: Family) -> list[str]:
    """Beginnings of the names of a backbone's parameters that its family does not decay."""
    # Its numbers are not asked for.
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        model = MODELS.build({k: v for k, v in backbone.items() if k != "init_cfg"})
    keys = sorted(sorted(rules.decay), key=len, reverse=True)
    short, decayed = {}, []
    for name, _ in model.named_parameters(prefix="backbone"):
        key = next((key for key in keys if key in name), None)
        if key is None or rules.decay[key]["decay_mult"]:
            decayed.append(name)
        else:
            short[name] = name[: name.rindex(key) + len(key)]
    # Whole names where the beginning would take others along.
    shared = {begin for begin in short.values() if _begins_any(begin, decayed)}
    return sorted({name if begin in shared else begin for name, begin in short.items()})


def _begins_any(begin: str, names: list[str]) -> bool:
    return any(name.startswith(begin) for name in names)


def _layer_rates(keys: dict, arch: str) -> dict[str, dict]:
    """Rates that fall from block to block towards the image, for a column of another depth."""
    layers = {int(m[1]): dict(value) for key, value in keys.items() if (m := LAYER.match(key))}
    step = layers[max(layers)]["lr_mult"]
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        depth = family_of(arch)(arch=arch).depth
    rates = {f"backbone.layers.{i}.": dict(lr_mult=step ** (depth - i)) for i in range(depth)}
    norms = {f"{name}norm.": dict(decay_mult=0.0, **rate) for name, rate in rates.items()}
    first = dict(lr_mult=step ** (depth + 1))
    decay = family_rules(arch).decay
    rest = {
        key: dict(value, **first)
        for key, value in decay.items()
        if key in ("pos_embed", "cls_token")
    }
    others = {key: dict(value) for key, value in decay.items() if key not in rest}
    return {**others, **rates, **norms, "backbone.patch_embed": first, **rest}


def _whole(schedulers: Any, train_cfg: dict) -> Iterator[dict]:
    """The schedulers with where each begins and ends, which MMEngine lets a config leave out."""
    for entry in [schedulers] if isinstance(schedulers, dict) else schedulers:
        length = train_cfg.get("max_epochs" if entry.get("by_epoch", True) else "max_iters")
        filled = dict(entry)
        filled.setdefault("begin", 0)
        if length is not None:
            filled.setdefault("end", length)
        yield filled
