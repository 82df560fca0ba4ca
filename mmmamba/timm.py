"""timm's door: `import mmmamba.timm` registers every backbone there, as `mmmamba_<name>`.

`timm.create_model("mmmamba_vmamba_t", features_only=True, out_indices=(1, 2, 3))` gives the maps
of `mmmamba.create_backbone`, anything else its classifier; names in state dicts are the same.
Arguments of a family's class are arguments of `timm.create_model` too.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .errors import UsageError

try:
    import timm  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "timm":
        raise
    raise UsageError("mmmamba.timm needs timm, which is not here: `pip install timm`") from error

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, register_model, resolve_pretrained_cfg
from timm.models._features import feature_take_indices

from .checkpoints import load_weights
from .layers.packed import pack_plain_layers
from .models.backbones import list_backbones
from .models.backbones.factory import family_of
from .models.trunks.base import MambaBackbone
from .models.trunks.pyramid import PyramidBackbone

PREFIX = "mmmamba_"
HEADS = ("classifier", "head")
"""What families call the child that ends in the linear layers of a classifier."""
NOT_DECAYED = re.compile(
    r"(.*\.)?(A(_b)?_logs?(_\d)?|D(s|_b|_\d)?|dt_projs_bias|(pos_embed|cls_token)\w*)"
)
"""Positions, tokens, and what belongs to a scan's state and is no product's weight."""
UNSCALED = ("MambaYOLOBackbone",)
"""Families that see images in 0 … 1 as they are."""
CROPS = {"mambavision_t": 1.0, "mambavision_t2": 0.98, "mambavision_s": 0.93}
CROPS |= dict.fromkeys(("mambavision_b", "mambavision_l", "mambavision_l2"), 1.0)
CROPS |= dict.fromkeys(list_backbones("mambar_*"), 1.0)
"""Part of an image that its authors test on, where it is not 224 of 256."""


class TimmModel(MambaBackbone):
    """What timm asks of its models, before a family in the bases of a class.

    Args:
        arch, drop_path_rate, …: of the family.
        features: give the maps, as `features_only` wants them, not logits.
        num_classes: 0 for the pooled features.
        in_chans: channels of the images.
        global_pool: "" with `num_classes=0` leaves the features unpooled; a family pools in its own
            way otherwise.
        drop_rate: 0, as no family drops features before its classifier.
        out_indices: as timm's: some of the maps, or how many of the last.
    """

    def __init__(
        self,
        arch: str,
        *,
        features: bool = False,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str | None = None,
        drop_rate: float = 0.0,
        out_indices: int | Sequence[int] | None = None,
        **arguments: Any,
    ):
        if drop_rate:
            raise UsageError(
                f"drop_rate is {drop_rate}, and {arch} drops nothing before its classifier: "
                "leave it out, or give drop_path_rate"
            )
        super().__init__(
            arch,
            classifier=not features,
            num_classes=num_classes or 1000,
            in_channels=in_chans,
            out_indices=out_indices,  # type: ignore[arg-type]
            **arguments,
        )
        self.in_chans, self.num_classes = in_chans, num_classes
        self.global_pool = "own"
        self.num_features = self.out_channels[-1]
        self.feature_info = _feature_info(self)
        self.classifiers = _classifiers(self)
        if not features:
            first: Any = self.get_submodule(self.classifiers[0])
            self.head_hidden_size = first.in_features
            self._set_pool(num_classes, global_pool)
            if not num_classes:
                self.reset_classifier(0)

    @classmethod
    def _check_out_indices(cls, out_indices: Any, stages: int) -> tuple[int, ...]:
        taken, _ = feature_take_indices(stages, out_indices)
        return super()._check_out_indices(taken, stages)

    def _set_pool(self, num_classes: int, global_pool: str | None) -> None:
        if global_pool not in (None, "", "own") or (global_pool == "" and num_classes):
            raise UsageError(
                f"global_pool is {global_pool!r} with num_classes={num_classes}: the family pools "
                "in its own way (leave it out), and with num_classes=0 not at all (global_pool='')"
            )
        if global_pool is not None:
            self.global_pool = global_pool

    def forward(self, x_BCHW: Tensor) -> Any:
        if self.is_classifier and not self.global_pool:
            return self.forward_features(x_BCHW)
        return super().forward(x_BCHW)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of what `forward_features` returned; with `pre_logits` what they are made of."""
        if not pre_logits:
            return super().forward_head(features)
        seen: list[Tensor] = []
        first = self.get_submodule(self.classifiers[0])
        hook = first.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        try:
            super().forward_head(features)
        finally:
            hook.remove()
        return seen[0]

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = True,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """The maps of a model made with `features_only=True`: all that it has, and nothing else.

        Raises:
            UsageError: a classifier, other maps, or another layout.
        """
        if self.is_classifier:
            raise UsageError("a classifier has no maps: create_model(..., features_only=True)")
        self.prune_intermediate_layers(indices)
        if norm or output_fmt != "NCHW":
            raise UsageError(
                f"norm={norm}, output_fmt={output_fmt!r}: maps leave as NCHW, with the family's "
                "own norms and no other"
            )
        maps = list(self(x))
        return maps if intermediates_only else (maps[-1], maps)

    def prune_intermediate_layers(
        self,
        indices: int | Sequence[int] | None = None,
        prune_norm: bool = False,
        prune_head: bool = True,
    ) -> list[int]:
        """The indices of the maps, all that is built for.

        Raises:
            UsageError: others are asked for.
        """
        taken = list(self.out_indices)
        if indices is not None:
            taken, _ = feature_take_indices(len(self.feature_info), indices)
        if self.is_classifier or taken != list(self.out_indices):
            raise UsageError(
                f"the maps {indices} are asked of a model that was built for others: "
                "create_model(..., features_only=True, out_indices=...)"
            )
        return taken

    def get_classifier(self) -> nn.Module | tuple[nn.Module, ...]:
        """The last linear layer; GroupMamba has two."""
        found = tuple(self.get_submodule(name) for name in self.classifiers)
        return found[0] if len(found) == 1 else found

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """New linear layers for other classes; 0 takes them away and leaves pooled features."""
        self._set_pool(num_classes, global_pool)
        if num_classes and not self.global_pool:
            self.global_pool = "own"
        like = next(self.parameters())
        for name in self.classifiers:
            layer: nn.Module = nn.Identity()
            if num_classes:
                layer = nn.Linear(
                    self.head_hidden_size, num_classes, device=like.device, dtype=like.dtype
                )
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
            parent, _, child = name.rpartition(".")
            setattr(self.get_submodule(parent), child, layer)
        self.num_classes = num_classes
        pack_plain_layers(self)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute what is inside a block again in the backward pass (`with_cp`)."""
        for module in self.modules():
            if hasattr(module, "with_cp"):
                module.with_cp = enable

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that an optimizer should not pull to zero."""
        return {name for name, _ in self.named_parameters() if NOT_DECAYED.fullmatch(name)}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns by which timm sorts parameters into layers, from the stem to the classifier."""
        if not isinstance(self, PyramidBackbone):
            return dict(stem=r"^(?:patch_embed|tokens)\.", blocks=r"^layers\.(\d+)")
        stages = rf"^{self.STAGES}\.(\d+)"
        fine = [(rf"{stages}\.blocks\.(\d+)", None), (stages, (99999,))]
        return dict(stem=rf"^{self.STEM}", blocks=stages if coarse else fine)

    def load_pretrained(
        self, source: str | Path | Mapping[str, Tensor], num_classes: int = 1000
    ) -> None:
        """Load a file of its authors, of timm's or of ours, strictly.

        Args:
            source: a path, a URL or a state dict.
            num_classes: of the file. Linear layers for another number stay as they are.

        Raises:
            CheckpointError: weights that do not fit.
        """
        linear = [rf"{re.escape(name)}\.(weight|bias)" for name in self.classifiers]
        other = num_classes != self.num_classes
        load_weights(
            self,
            source,
            allow_mismatched=linear if other else (),
            allow_unexpected=() if self.num_classes else linear,
        )


def _feature_info(model: Any) -> list[dict[str, Any]]:
    """Each map that there can be, whichever are built: width, stride, and what it comes from."""
    if isinstance(model, PyramidBackbone):
        return [
            dict(num_chs=dim, reduction=stride, module=f"{model.STAGES}.{i}")
            for i, (dim, stride) in enumerate(zip(model.dims, model.STRIDES))
        ]
    if model.adapted:
        return [
            dict(num_chs=dim, reduction=stride, module=f"ad_norm{i + 1}")
            for i, (stride, dim) in enumerate(sorted(model.offered().items()))
        ]
    # A block that is not asked for is given the stride of the one before it that is.
    places = [max(bisect_right(model.out_indices, i) - 1, 0) for i in range(model.depth)]
    return [
        dict(num_chs=model.out_channels[0], reduction=model.out_strides[n], module=f"layers.{i}")
        for i, n in enumerate(places)
    ]


def _classifiers(model: nn.Module) -> list[str]:
    """Names of a classifier's linear layers."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.split(".")[0] in HEADS
    ]


def _class_of(family: type[MambaBackbone]) -> type[TimmModel]:
    """The family as a model of timm; a name of this module, so that models can be pickled."""
    name = f"Timm{family.__name__}"
    if name not in globals():
        globals()[name] = type(name, (TimmModel, family), {"__module__": __name__})
    return globals()[name]


def _create(
    name: str,
    pretrained: bool = False,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: dict[str, Any] | None = None,
    cache_dir: str | Path | None = None,
    features_only: bool = False,
    feature_cls: str = "getter",
    out_indices: int | Sequence[int] | None = None,
    **arguments: Any,
) -> nn.Module:
    if feature_cls != "getter":
        raise UsageError(f"feature_cls is {feature_cls!r}, and maps come by 'getter': leave it out")
    if out_indices is not None and not features_only:
        raise UsageError("out_indices is for features_only=True: a classifier has no maps")
    variant = PREFIX + name
    cfg = resolve_pretrained_cfg(variant, pretrained_cfg, pretrained_cfg_overlay)
    # What timm has in its own hub, or a folder, it reads itself.
    source = None if cfg.source or cfg.hf_hub_id else cfg.state_dict or cfg.file or cfg.url
    if pretrained and source is not None and cache_dir is not None:
        raise UsageError("cache_dir: downloads lie in torch.hub's folder; set TORCH_HOME instead")
    model = build_model_with_cfg(
        partial(_class_of(family_of(name)), name, features=features_only, out_indices=out_indices),
        variant,
        pretrained and source is None,
        pretrained_cfg=pretrained_cfg,
        pretrained_cfg_overlay=pretrained_cfg_overlay,
        feature_cfg=dict(feature_cls=feature_cls, out_indices=None),
        cache_dir=cache_dir,
        features_only=features_only,
        **arguments,
    )
    if pretrained and source is not None:
        (model.model if features_only else model).load_pretrained(source, cfg.num_classes)
    return model


def _default_cfgs() -> dict[str, dict[str, Any]]:
    """timm's description of each model, by its name there."""
    names, cfgs = list_backbones(), {}
    for family in {family_of(name) for name in names}:
        # A tiny one tells the names of layers, which all variants share.
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            tiny: Any = family(**family.TINY, classifier=True)
        stem = (
            "stem" if isinstance(tiny, PyramidBackbone) and tiny.STEM == "stem" else "patch_embed"
        )
        convs = (n for n, m in tiny.named_modules() if isinstance(m, nn.Conv2d))
        linear = _classifiers(tiny)
        layers = dict(
            first_conv=next(n for n in convs if n.startswith(stem)),
            classifier=linear[0] if len(linear) == 1 else tuple(linear),
        )
        for name in family.ARCHS:
            cfgs[PREFIX + name] = layers | _described(family, name)
    return cfgs


def _described(family: type[MambaBackbone], name: str) -> dict[str, Any]:
    size = family.SIZES.get(name)
    side = 224 if size is None else size.size
    unscaled = family.__name__ in UNSCALED
    cfg: dict[str, Any] = dict(
        input_size=(3, side, side),
        mean=(0.0,) * 3 if unscaled else IMAGENET_DEFAULT_MEAN,
        std=(1.0,) * 3 if unscaled else IMAGENET_DEFAULT_STD,
        crop_pct=CROPS.get(name, 0.875),
        num_classes=1000,
    )
    for file in family.PUBLISHED:
        if (file.name, file.task) == (name, "classification"):
            cfg |= dict(license=file.licence, origin_url=file.source)
            # A page to download from by hand is no file.
            if not file.page:
                cfg["url"] = file.url
    return cfg


def _register(name: str) -> None:
    _class_of(family_of(name))

    def create(pretrained: bool = False, **arguments: Any) -> nn.Module:
        return _create(name, pretrained, **arguments)

    create.__name__ = create.__qualname__ = PREFIX + name
    create.__doc__ = f"`{name}` as a model of timm."
    globals()[PREFIX + name] = register_model(create)


default_cfgs = _default_cfgs()
__all__ = ["TimmModel"]
for _name in list_backbones():
    _register(_name)
