"""What a family's backbones are given in a detector or a segmentor, as its authors trained them.

The shipped configs say the same, and a test compares; where no authors trained a variant, it gets
what its next of kin got.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...checkpoints import list_published
from ..backbones.factory import family_of

TASKS = ("detector", "yolo", "segmentor")
"""Kinds of training; `yolo` is a one-stage detector at 640 pixels."""
YOLO_DROP_PATH = 0.1
NO_DECAY = {"norm": dict(decay_mult=0.0)}
"""What is not decayed where a family's authors say nothing else."""
POSITIONS = {"pos_embed": dict(decay_mult=0.0), "cls_token": dict(decay_mult=0.0)}


@dataclass(frozen=True, kw_only=True)
class Family:
    """The rules of one family.

    `drop_path`, `rate` and `arguments` are by task and by name of a variant, in this order of
    precedence: the variant's for the task, all variants' for the task (`""`).
    """

    drop_path: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    arguments: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """More of the backbone's."""
    rate: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Factor of the usual learning rate."""
    decay: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: NO_DECAY)
    """`custom_keys` of the optimizer."""
    clip_grad: float | None = None
    """Norm to which the gradients of detectors are clipped."""

    def of(self, values: Mapping[str, Mapping[str, Any]], arch: str, task: str) -> Any:
        """The value for a variant and a task; None where there is none."""
        by_arch = values.get(task, {})
        return by_arch.get(arch, by_arch.get(""))


def _drop_path(detector: Mapping[str, float], segmentor: Mapping[str, float] | None = None):
    return {"detector": detector, "segmentor": {**detector, **(segmentor or {})}}


_COLUMN_ARGUMENTS = {
    "detector": {"": dict(img_size=1024)},
    "yolo": {"": dict(img_size=640)},
    "segmentor": {"": dict(img_size=512)},
}
_IN_MIXER = {
    **_COLUMN_ARGUMENTS,
    "segmentor": {"": dict(img_size=512, features="mixer")},
}
_WINDOWS = {
    "detector": {"": dict(window_size=(8, 8, 112, 56))},
    "yolo": {"": dict(window_size=(8, 8, 40, 20))},
    "segmentor": {
        "": dict(window_size=(8, 8, 64, 32)),
        "mambavision_s": dict(window_size=(8, 8, 160, 56)),
    },
}
_SCANS = {key: dict(decay_mult=0.0) for key in (".A_log", ".D", ".direction_Bs")}

FAMILIES: dict[str, Family] = {
    "VMamba": Family(
        drop_path=_drop_path(
            {
                "": 0.2,
                "vmamba_s": 0.3,
                "vmamba_s_s1l20": 0.3,
                "vmamba_b": 0.6,
                "vmamba_b_s1l20": 0.6,
            },
            {"vmamba_v0_t": 0.3, "vmamba_v0_s": 0.3, "vmamba_v0_b": 0.3},
        ),
    ),
    "MambaVision": Family(
        drop_path=_drop_path({"": 0.2}),
        arguments=_WINDOWS,
        rate={
            "detector": {"mambavision_b": 2.0, "mambavision_b_21k": 2.0},
            "segmentor": {
                "mambavision_t": 5 / 6,
                "mambavision_t2": 5 / 6,
                "mambavision_b": 5 / 6,
                "mambavision_b_21k": 5 / 6,
                "mambavision_l3_256_21k": 4 / 3,
                "mambavision_l3_512_21k": 4 / 3,
            },
        },
    ),
    "EfficientVMamba": Family(drop_path=_drop_path({"": 0.2})),
    "LocalVMamba": Family(drop_path=_drop_path({"": 0.2}, {"localvmamba_t": 0.1})),
    # Its authors trained no detector: VMamba v0's, which it is but for its shortcuts.
    "ResVMamba": Family(drop_path=_drop_path({"": 0.2}, {"": 0.3})),
    # Its authors trained no detector: VMamba's. Attention between all cells of a large image would
    # be quadratic in them.
    "InsectMamba": Family(
        drop_path=_drop_path({"": 0.2, "insectmamba_s": 0.3, "insectmamba_b": 0.6}),
        arguments={task: {"": dict(attn_reductions=(8, 4, 1, 1))} for task in TASKS[:2]},
    ),
    # The stem's batch norms: two images a GPU are too few to take statistics from.
    **dict.fromkeys(
        ("GroupMamba", "Heracles", "SiMBA"),
        Family(
            drop_path=_drop_path({"": 0.2}),
            arguments={task: {"": dict(norm_eval=True)} for task in TASKS},
        ),
    ),
    "MLLA": Family(drop_path=_drop_path({"": 0.1}, {"mlla_b": 0.5})),
    "MSVMamba": Family(drop_path=_drop_path({"": 0.2}, {"msvmamba_m": 0.3})),
    "SpatialMamba": Family(
        drop_path=_drop_path({"spatialmamba_t": 0.2, "spatialmamba_s": 0.3, "spatialmamba_b": 0.5}),
        decay={**NO_DECAY, ".norm1.": dict(decay_mult=1.0), ".norm2.": dict(decay_mult=1.0)},
    ),
    "VSSD": Family(drop_path=_drop_path({"": 0.2, "vssd_m": 0.1, "vssd_s": 0.4, "vssd_b": 0.4})),
    "PlainMamba": Family(
        drop_path=_drop_path(
            {
                f"plainmamba_l{i}{adapted}": 0.1 * i
                for i, adapted in ((1, ""), (1, "_det"), (2, ""), (2, "_det"))
            }
            | {"plainmamba_l3": 0.3, "plainmamba_l3_det": 0.3}
        ),
        decay={
            **NO_DECAY,
            **_SCANS,
            "pos_embed": dict(decay_mult=0.0),
            "level_embed": dict(decay_mult=0.0),
            "patch_embed.": dict(decay_mult=1.0),
            ".dw.norm.": dict(decay_mult=1.0),
        },
    ),
    "Vim": Family(
        drop_path=_drop_path({"": 0.1}),
        arguments={
            **_IN_MIXER,
            "segmentor": {
                "": dict(img_size=512, features="mixer"),
                "vim_s": dict(img_size=512, features="stream"),
            },
        },
        decay={**NO_DECAY, **POSITIONS},
    ),
    # Its authors trained no detector: Vim's, the column that is most like it.
    "RSMamba": Family(
        drop_path=_drop_path({"": 0.1}),
        arguments=_COLUMN_ARGUMENTS,
        decay={**NO_DECAY, **POSITIONS},
    ),
    "MambaND": Family(
        drop_path=_drop_path({"": 0.1}),
        decay={**NO_DECAY, "pos_embed": dict(decay_mult=0.0)},
    ),
    "VimF": Family(
        drop_path=_drop_path({"": 0.1}),
        arguments={"segmentor": {"": dict(features="mixer")}},
        decay={**NO_DECAY, "cls_token": dict(decay_mult=0.0), "spectrum": dict(decay_mult=0.0)},
    ),
    "MambaR": Family(
        drop_path=_drop_path({"": 0.1}, {"": 0.2, "mambar_l": 0.3}),
        arguments=_IN_MIXER,
        rate={"segmentor": {"mambar_l": 0.5}},
        decay={
            **NO_DECAY,
            **POSITIONS,
            **{key: dict(decay_mult=0.0) for key in ("A_log", "A_b_log", "mixer.D")},
        },
    ),
    "LocalVim": Family(
        drop_path=_drop_path({"": 0.1}),
        arguments={
            task: {"": dict(img_size=size, norm="layer")}
            for task, size in (("detector", 1024), ("yolo", 640), ("segmentor", 512))
        },
        decay={**NO_DECAY, **POSITIONS},
    ),
    "MobileMamba": Family(
        arguments={"detector": {"": dict(norm_eval=True)}},
        rate={"detector": {"": 2.0}, "segmentor": {"": 2.0}},
        decay={},
        clip_grad=0.1,
    ),
    "MambaYOLOBackbone": Family(decay={**NO_DECAY, "dt_projs_bias": dict(decay_mult=0.0)}),
}


def family_rules(arch: str) -> Family:
    """The rules for a name of `list_backbones()`; of a family that is not listed the usual ones."""
    return FAMILIES.get(family_of(arch).__name__, Family())


def backbone_arguments(arch: str, task: str) -> dict[str, Any]:
    """Arguments of a backbone beside its name: drop path, windows, published weights.

    Args:
        task: of `TASKS`.
    """
    rules = family_rules(arch)
    arguments = dict(rules.of(rules.arguments, arch, task) or {})
    kind = "detector" if task == "yolo" else task
    drop_path = rules.of(rules.drop_path, arch, kind)
    if drop_path is not None:
        arguments["drop_path_rate"] = YOLO_DROP_PATH if task == "yolo" else drop_path
    if checkpoint := published_weights(arch):
        arguments["init_cfg"] = dict(type="Pretrained", checkpoint=checkpoint)
    return arguments


def published_weights(arch: str) -> str | None:
    """Address of a variant's ImageNet weights; a path for those to be fetched by hand."""
    # Variants with an adapter around them start from those without.
    plain = arch.removesuffix("_det") if arch.startswith("plainmamba") else arch
    files = list_published(plain, "classification")
    if not files:
        return None
    return f"checkpoints/{arch}.pth" if files[0].page else files[0].url
