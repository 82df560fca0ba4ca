"""Teachers by their libraries: timm, torchvision, mmpretrain, and the backbones here."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
import torchvision
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from torch import nn

from mmmamba.checkpoints import CheckpointError, KeyMap, load_weights, published, read_checkpoint
from mmmamba.checkpoints.unwrap import unwrap
from mmmamba.config.find import find_config
from mmmamba.config.read import read_config
from mmmamba.errors import UsageError

from ..backbones.factory import create_backbone
from .teacher import Normalised, Teacher

logger = logging.getLogger("mmmamba")

IMAGENET = Normalised((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
TIMM_FILES = KeyMap(under=("state_dict_ema", "model_ema", "state_dict", "model"))
"""Where training files of timm's kind have their weights, the averaged ones first."""


@dataclass(frozen=True)
class TeacherSettings:
    """What a config says of a teacher.

    Args:
        library: "timm", "torchvision", "mmpretrain" or "mmmamba".
        model: a name of that library; for mmpretrain a config (file or name) or a dictionary of a
            classifier; for mmmamba a backbone's name or dictionary.
        checkpoint: path or URL of its weights.
        pretrained: take the weights that the library itself offers for this name.
        num_classes: how many its checkpoint knows; the student's if None.
        size: side, or height and width, to which images are resized for it; None leaves them.
        mean, std: of its images, values 0 to 255; the library's if None.
        allow_random: take a teacher that has learnt nothing, in tests.

    Raises:
        UsageError: an unknown library, no weights, or mean without std.
    """

    library: str
    model: Any
    checkpoint: str | None = None
    pretrained: bool = False
    num_classes: int | None = None
    size: int | Sequence[int] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    allow_random: bool = False

    def __post_init__(self) -> None:
        if self.library not in LIBRARIES:
            raise UsageError(
                f"teacher.library is {self.library!r}, wanted one of {', '.join(LIBRARIES)}"
            )
        ways = (self.checkpoint is not None) + self.pretrained
        if ways == 2 or (not ways and not self.allow_random):
            found = "both" if ways else "neither"
            raise UsageError(
                f"teacher {self.label} has {found} of checkpoint and pretrained=True, wanted one: "
                "checkpoint='path or URL' of its weights, or pretrained=True for those that "
                f"{self.library} offers. From a random teacher nothing is learnt"
            )
        if (self.mean is None) != (self.std is None):
            raise UsageError(f"teacher {self.label} has one of mean and std, wanted both or none")
        if self.num_classes is not None and (self.pretrained or self.library == "mmpretrain"):
            raise UsageError(
                f"teacher {self.label} has num_classes={self.num_classes}, which goes with the "
                "checkpoint of a model of timm, torchvision or mmmamba; others know it themselves"
            )
        if self.pretrained and (self.library == "mmpretrain" or not isinstance(self.model, str)):
            raise UsageError(
                f"teacher {self.label} has pretrained=True, which goes with the name of a model of "
                "timm, torchvision or mmmamba: give checkpoint= instead"
            )

    @property
    def label(self) -> str:
        """What messages call it."""
        model = self.model if isinstance(self.model, str) else self.model.get("type")
        return f"{self.library} {model}"


def build_teacher(
    chosen: TeacherSettings, preprocessor: nn.Module, num_classes: int | None
) -> Teacher:
    """The network with its weights, for images of a student.

    Random numbers go on as if nothing had been built.

    Args:
        preprocessor: the student's.
        num_classes: the student's; None where nobody says.

    Raises:
        UsageError: no such model, or weights that do not fit it.
    """
    classes = chosen.num_classes or num_classes
    if classes is None and chosen.library != "mmpretrain":
        raise UsageError(
            f"nobody says how many classes teacher {chosen.label} knows: write "
            "data_preprocessor=dict(num_classes=N, ...) or teacher=dict(num_classes=N, ...)"
        )
    with torch.random.fork_rng(devices=[]):
        try:
            network, wanted = LIBRARIES[chosen.library](chosen, classes)
        # What the libraries raise of a name that they lack and of a file that does not fit.
        except (CheckpointError, LookupError, RuntimeError, ValueError) as error:
            of = "" if classes is None else f" of {classes} classes"
            raise UsageError(f"teacher {chosen.label}{of} cannot be made: {error}") from error
    if chosen.mean is not None and chosen.std is not None:
        wanted = Normalised(tuple(chosen.mean), tuple(chosen.std), wanted.rgb)
    size = (chosen.size,) * 2 if isinstance(chosen.size, int) else chosen.size
    teacher = Teacher(network, Normalised.by(preprocessor), wanted, size)
    logger.info("teacher %s: %s", chosen.label, teacher)
    return teacher


def _timm(chosen: TeacherSettings, classes: int) -> tuple[nn.Module, Normalised]:
    if find_spec("timm") is None:
        raise UsageError(f"teacher {chosen.label} needs timm, which is not here: pip install timm")
    import timm

    options: dict[str, Any] = dict(num_classes=classes)
    if chosen.pretrained:
        # As many classes as they have: for another number timm would make a random classifier.
        options = dict(pretrained=True)
    if chosen.checkpoint is not None:
        # Through timm's own loading, which knows the older names of its models.
        state = unwrap(read_checkpoint(chosen.checkpoint), TIMM_FILES).state
        overlay = dict(state_dict=state, num_classes=classes)
        options.update(pretrained=True, pretrained_cfg_overlay=overlay)
    network = timm.create_model(chosen.model, **options)
    about = network.pretrained_cfg
    # The weights themselves, a second time.
    about.pop("state_dict", None)
    return network, Normalised(_to_255(about["mean"]), _to_255(about["std"]))


def _to_255(shares: Sequence[float]) -> tuple[float, ...]:
    return tuple(255 * share for share in shares)


def _torchvision(chosen: TeacherSettings, classes: int) -> tuple[nn.Module, Normalised]:
    if chosen.pretrained:
        return torchvision.models.get_model(chosen.model, weights="DEFAULT"), IMAGENET
    network = torchvision.models.get_model(chosen.model, num_classes=classes)
    return _with_weights(network, chosen), IMAGENET


def _mmpretrain(chosen: TeacherSettings, classes: int | None) -> tuple[nn.Module, Normalised]:
    model, scope = chosen.model, "mmpretrain"
    if isinstance(model, str):
        cfg = read_config(find_config(model))
        model, scope = cfg.model, cfg.get("default_scope", scope)
        if "data_preprocessor" in cfg:
            model.setdefault("data_preprocessor", cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(scope):
        network = MODELS.build(dict(model))
    return _with_weights(network, chosen), Normalised.by(network.data_preprocessor)


def _mmmamba(chosen: TeacherSettings, classes: int) -> tuple[nn.Module, Normalised]:
    options = dict(classifier=True, num_classes=classes)
    if isinstance(chosen.model, str):
        network = create_backbone(chosen.model, **options)
    else:
        network = MODELS.build(options | dict(chosen.model))
    weights = published(chosen.model).url if chosen.pretrained else chosen.checkpoint
    if weights is not None:
        network.load_weights(weights)
    return network, IMAGENET


def _with_weights(network: nn.Module, chosen: TeacherSettings) -> nn.Module:
    if chosen.checkpoint is not None:
        load_weights(network, chosen.checkpoint)
    return network


LIBRARIES: Mapping[str, Any] = dict(
    timm=_timm, torchvision=_torchvision, mmpretrain=_mmpretrain, mmmamba=_mmmamba
)
