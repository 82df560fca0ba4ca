"""Which config puts a head on a backbone: a shipped one, or one composed of another's."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config

from ...config.find import config_name, list_configs
from ...config.foreign import PACKAGES, foreign_name, foreign_path, method_of
from ...config.methods import METHODS, NEEDS, refused
from ...datasets.discovery import holds_objects
from ...errors import UsageError
from ...models.backbones import list_backbones
from ...models.backbones.factory import family_of
from ...models.drop_in import compose, trunk_of
from ...suggest import did_you_mean
from .classifier import CLASSIFIER, classifier_recipe
from .fit import other_data

HEADS = {
    "mask_rcnn": ("mask_rcnn", ""),
    "cascade_mask_rcnn": ("cascade_mask_rcnn", ""),
    "retinanet": ("retinanet", ""),
    "yolox": ("yolo", "yolox"),
    "rtmdet": ("yolo", "rtmdet"),
    "dfl": ("yolo", "dfl"),
    "mamba_yolo": ("mamba_yolo", ""),
    "upernet": ("upernet", ""),
    "semantic_fpn": ("semantic_fpn", ""),
}
"""Folder of our configs, and what follows the backbone's name in theirs."""
MASK_HEADS = ("mask_rcnn", "cascade_mask_rcnn")
SEGMENTATION_HEADS = ("upernet", "semantic_fpn")
MODELS = {
    "mask_rcnn": ("vmamba_t", "mambar_s"),
    "cascade_mask_rcnn": ("vmamba_t", "vim_t"),
    "retinanet": ("efficientvmamba_t", "efficientvmamba_t"),
    "yolox": ("vmamba_t", "vmamba_t"),
    "rtmdet": ("vmamba_t", "vmamba_t"),
    "dfl": ("vmamba_t", "vmamba_t"),
    "upernet": ("vmamba_t", "vmamba_t"),
}
"""Whose config is taken where no sibling has one: for pyramids, and for plain columns."""
SEMANTIC_FPN = "sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512"
"""The config of mmseg that is taken for pyramids: ours is for maps from stride 16 on."""


@dataclass(frozen=True)
class Base:
    """What a written config stands on."""

    config: Config
    """With the backbone in it."""
    written: Config
    """The config that `config` is composed of; itself where that is a shipped one of the pair."""
    name: str
    """For people: `mask_rcnn/vmamba_t_1x_coco`, `mmdet::dino/dino-….py`."""
    package: str
    """That ships it: `mmmamba`, `mmdet` or `mmseg`."""
    segments: bool
    """It learns from label maps."""

    classifies: bool = False
    """It learns from folders of classes."""

    @property
    def composed(self) -> bool:
        return self.config is not self.written


def head_word(head: str) -> str:
    """A head as the name of a file has it: `dino-4scale_r50_8xb2-12e_coco` of `mmdet::dino/…`."""
    return head.rpartition("::")[2].rpartition("/")[2].removesuffix(".py")


def shipped_heads() -> dict[str, dict[str, Path]]:
    """Our configs by backbone and head; of several the first by name, the shortest schedule."""
    # The longest first: `mamba_yolo_t` begins the name of `mamba_yolo_t_v2`, too.
    names = sorted(list_backbones(), key=len, reverse=True)
    found: dict[str, dict[str, Path]] = {}
    for path in list_configs():
        backbone = next((name for name in names if path.stem.startswith(f"{name}_")), None)
        if backbone is None:
            continue
        rest = path.stem.removeprefix(f"{backbone}_")
        for head, (folder, word) in HEADS.items():
            if path.parent.name == folder and rest.startswith(word):
                found.setdefault(backbone, {}).setdefault(head, path)
    return found


def base_config(backbone: str, head: str, data: Path | None = None) -> Base:
    """The config of a backbone under a head.

    Args:
        head: one of `HEADS`; `mmdet::` or `mmseg::` and a config or a method of that package; or
            the name of one of its methods alone.
        data: folder to learn from, which tells methods apart that both packages have.

    Raises:
        UsageError: an unknown name, or two that do not go together, with the reason.
    """
    known = list_backbones()
    if backbone not in known:
        raise UsageError(
            f"there is no backbone {backbone!r} (mmmamba list).{did_you_mean(backbone, known, 3)}"
        )
    if head == CLASSIFIER:
        return classifier_base(backbone)
    if head in HEADS:
        return _ours(backbone, head)
    package, name = _foreign(head, data)
    return _composed(backbone, foreign_path(package, name), package)


def heads_for(backbone: str, masks: bool) -> list[str]:
    """Our heads that take a backbone and learn from boxes alone, or with `masks` all of them."""
    found = [h for h in HEADS if h not in SEGMENTATION_HEADS and (masks or h not in MASK_HEADS)]
    yolo = family_of(backbone).__name__ == "MambaYOLOBackbone"
    return [h for h in found if h != "mamba_yolo" or yolo]


def reference(backbone: str, head: str) -> Path | None:
    """Our config that a head is taken from for a backbone that has none of its own.

    That of a sibling if there is one, else of a pyramid or a column like it. None: mmseg's.

    Raises:
        UsageError: the head is another backbone's alone.
    """
    shipped = shipped_heads()
    family = family_of(backbone)
    siblings = [name for name in shipped if head in shipped[name] and name != backbone]
    for name in siblings:
        if family_of(name) is family:
            return shipped[name][head]
    if head == "mamba_yolo":
        raise UsageError(
            "mamba_yolo is the whole of Mamba YOLO, with its own backbones: "
            f"{', '.join(siblings)}. Its neck and head on {backbone}: --head dfl"
        )
    if head == "semantic_fpn":
        return None
    pyramid, column = MODELS[head]
    return shipped[column if trunk_of(backbone).plain else pyramid][head]


def classifier_base(backbone: str) -> Base:
    """The recipe that a backbone is trained by as a classifier: its own, or one with it in it."""
    path, config = classifier_recipe(backbone)
    return Base(config, Config.fromfile(path), config_name(path), "mmmamba", False, True)


def _ours(backbone: str, head: str) -> Base:
    shipped = shipped_heads().get(backbone, {}).get(head)
    if shipped is not None:
        config = Config.fromfile(shipped)
        segments = head in SEGMENTATION_HEADS
        return Base(config, config, config_name(shipped), "mmmamba", segments)
    path = reference(backbone, head)
    if path is None:
        return _composed(backbone, foreign_path("mmseg", SEMANTIC_FPN), "mmseg")
    return _composed(backbone, path, "mmmamba")


def _foreign(head: str, data: Path | None) -> tuple[str, str]:
    """Package and name of a config that is not ours."""
    package, mark, name = head.partition("::")
    if mark:
        if package not in PACKAGES:
            raise UsageError(f"--head {head}: wanted mmdet::… or mmseg::…, not {package}::…")
        return package, name
    having = [package for package in PACKAGES if head in METHODS[package]]
    if len(having) == 2 and data is not None:
        # Both learn the same from other data.
        return ("mmdet" if holds_objects(data) else "mmseg"), head
    if having:
        return having[0], head
    if "/" in head or head.endswith(".py"):
        raise UsageError(f"--head {head}: say whose it is, mmdet::{head} or mmseg::{head}")
    # Some methods have a name of ours, or are of both packages.
    known = dict.fromkeys([CLASSIFIER, *HEADS, *METHODS["mmdet"], *METHODS["mmseg"]])
    raise UsageError(
        f"there is no head {head!r} (mmmamba list --heads).{did_you_mean(head, known, 3)}"
    )


def _composed(backbone: str, path: Path, package: str) -> Base:
    if package == "mmmamba":
        name = config_name(path)
    else:
        name = foreign_name(package, path)
        _refuse(package, path, name)
    written = Config.fromfile(path)
    if reason := other_data(written):
        raise UsageError(f"{name}: {reason}")
    config = compose(written, backbone)
    return Base(config, written, name, package, "decode_head" in config.model)


def _refuse(package: str, path: Path, name: str) -> None:
    """Refuse what no config can be written of.

    Raises:
        UsageError: with the reason.
    """
    method = method_of(package, path)
    alone = path.stem == METHODS[package].get(path.parent.name)
    # A method is refused by its plainest config; other configs of its folder may be free of that.
    if alone and (reason := refused(method)):
        raise UsageError(f"{name}: {reason}")
    needed = NEEDS.get(method)
    if needed and find_spec(needed) is None:
        raise UsageError(f"{name} needs {needed}, which is not installed")
