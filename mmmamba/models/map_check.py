"""Whether the maps that reach a detector's heads are those that the heads were built for.

A head lays its anchors or points out by the strides that its config says. On maps of other strides
the loss is finite and the geometry wrong.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from math import log2
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from .image_channels import image_channels
from .trunks.base import MambaBackbone

SIDE, LARGE_SIDE = 256, 512
"""Sides of the image that is passed through; the larger where strides pass `SIDE / 2`."""
SAME = 0.4
"""Octaves by which strides may differ: YOLACT's are 550 / 69, 550 / 35, … for 8, 16, …"""
STRIDES = (
    "prior_generator.strides",
    "anchor_generator.strides",
    "square_anchor_generator.strides",
    "featmap_strides",
    "feature_strides",
    "strides",
)
"""Where heads keep the strides of their maps."""
VIEW = "view size is not compatible"
"""What PyTorch says of a `view` that would have to copy."""
RESIZES = ("SOLOHead", "DecoupledSOLOHead", "DecoupledSOLOLightHead", "SOLOV2Head")
"""Their strides are those of the maps after they have resized them."""


class MapError(ValueError):
    """A neck or head was built for other maps than it gets; the message has the lines to write."""


def check_maps(model: nn.Module) -> None:
    """Pass an empty image through backbone and neck, and compare the maps with what reads them.

    Models whose backbone is none of ours are left alone. Batch statistics and random state stay as
    they are.

    Raises:
        MapError: another number, width or stride of maps than the neck or a head was built for.
    """
    model = _detector(model)
    # Once is enough, whoever asked: the hook of `check_at_first_pass` goes, if there is one.
    _forget(model)
    if not isinstance(getattr(model, "backbone", None), MambaBackbone):
        return
    _check_widths(model)
    if hasattr(model, "decode_head"):
        _check_views(model)
    heads = list(readers(model))
    if not heads or not hasattr(model, "extract_feat"):
        return
    try:
        given = strides_after_neck(model, _side_for(model, heads))
    # A RuntimeError too, but no fault of the neck's.
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        name, wanted = heads[0]
        raise MapError(_cannot_take(model, name, wanted, error)) from error
    for name, wanted in heads:
        # Further maps are for others: an RPN reads five, the heads of its regions four, CondInst's
        # masks one.
        if not _alike(given[: len(wanted)], wanted):
            raise MapError(_message(model, name, wanted, given))


def readers(model: nn.Module) -> Iterator[tuple[str, list[float]]]:
    """The parts of a detector that say strides, by name, with the strides."""
    for name, part in model.named_children():
        if name in ("backbone", "neck") or type(part).__name__ in RESIZES:
            continue
        if strides := _strides_of(part):
            yield name, strides
        for inner in ("bbox_roi_extractor", "mask_roi_extractor"):
            for extractor in _modules(getattr(part, inner, None)):
                if strides := _strides_of(extractor):
                    yield f"{name}.{inner}", strides


def _side_for(model: nn.Module, heads: Sequence[tuple[str, list[float]]]) -> int:
    """The side of an image that has cells at every stride.

    SSD's is the one it is built for: its last strides hold at no other.
    """
    for name, _ in heads:
        generator = getattr(getattr(model, name, None), "prior_generator", None)
        if size := getattr(generator, "input_size", None):
            return size
    return SIDE if max(max(strides) for _, strides in heads) <= SIDE / 2 else LARGE_SIDE


def strides_after_neck(model: nn.Module, side: int = SIDE) -> list[float]:
    """Strides of the maps that `extract_feat` returns for a square image."""
    maps = _passed(model, model.extract_feat, 1, side)
    maps = [maps] if isinstance(maps, Tensor) else maps
    return [side / m.shape[-1] for m in maps if isinstance(m, Tensor) and m.dim() == 4]


def _passed(model: nn.Module, function: Callable[[Tensor], Any], batch: int, side: int) -> Any:
    """What a function of the model makes of empty images in evaluation mode."""
    like = next(model.backbone.parameters())
    # Of each module: `train()` afterwards would wake what was put into evaluation by hand.
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            return function(like.new_zeros(batch, image_channels(model) or 3, side, side))
    finally:
        for module, mode in modes:
            module.training = mode


def check_at_first_pass(model: nn.Module) -> None:
    """Have `check_maps` run when the model is called for the first time, by whatever tool."""
    if isinstance(getattr(_detector(model), "backbone", None), MambaBackbone):
        _detector(model).register_forward_pre_hook(_first_pass)


def watch_built_models() -> None:
    """Have models that MMEngine's runner builds from now on looked at in their first pass."""
    build = MODELS.build_func
    # Called twice, this would wrap its own wrapper.
    if getattr(build, "watches", False):
        return

    @functools.wraps(build)
    def watching(*args: Any, **kwargs: Any) -> Any:
        model = build(*args, **kwargs)
        if isinstance(model, nn.Module):
            check_at_first_pass(model)
        return model

    watching.watches = True
    MODELS.build_func = watching


def _first_pass(model: nn.Module, inputs: tuple) -> None:
    check_maps(model)


def _forget(model: nn.Module) -> None:
    # By what they call: no handle of the hook is kept.
    hooks = model._forward_pre_hooks
    for key in [key for key, hook in hooks.items() if hook is _first_pass]:
        del hooks[key]


def _detector(model: nn.Module) -> nn.Module:
    """The part with a backbone: in trackers and teachers a detector within the model."""
    for name in ("module", "detector", "student"):
        inner = getattr(model, name, None)
        if isinstance(inner, nn.Module) and not hasattr(model, "backbone"):
            return _detector(inner)
    return model


def _modules(part: Any) -> Sequence[nn.Module]:
    if isinstance(part, nn.ModuleList):
        return list(part)
    return [part] if isinstance(part, nn.Module) else []


def _strides_of(part: nn.Module) -> list[float]:
    for path in STRIDES:
        found: Any = part
        for name in path.split("."):
            found = getattr(found, name, None)
        if isinstance(found, (list, tuple)) and found:
            # mmdet's generators keep a pair for each level.
            return [float(max(s) if isinstance(s, (list, tuple)) else s) for s in found]
    return []


def _alike(given: Sequence[float], wanted: Sequence[float]) -> bool:
    """As many maps, of about the same strides."""
    return len(given) == len(wanted) and all(map(_same, given, wanted))


def _same(stride: float, other: float) -> bool:
    return abs(log2(stride / other)) < SAME


def _message(model: nn.Module, name: str, wanted: Sequence[float], given: Sequence[float]) -> str:
    part = getattr(model, name.partition(".")[0])
    return (
        f"{name} ({type(part).__name__}) was built for maps of strides {_join(wanted)}; those that "
        f"reach it have {_join(given)}. Its anchors or points would lie elsewhere than the maps "
        f"see.{_cure(model, wanted, given)}"
    )


def _cannot_take(model: nn.Module, name: str, wanted: Sequence[float], error: RuntimeError) -> str:
    backbone = model.backbone
    return (
        f"the neck cannot take the maps of {type(backbone).__name__}, of strides "
        f"{_join(backbone.out_strides)} and {_join(backbone.out_channels)} channels: {error}. "
        f"{name} was built for strides {_join(wanted)}."
        f"{_cure(model, wanted, backbone.out_strides)}"
    )


def _cure(model: nn.Module, wanted: Sequence[float], given: Sequence[float]) -> str:
    backbone = model.backbone
    lines = lines_for(backbone, model, wanted, given)
    if lines:
        return " Write into the config's model:\n" + "\n".join(f"  {line}" for line in lines)
    return (
        f" {type(backbone).__name__} gives maps of strides {_join(backbone.out_strides)} with "
        f"out_indices={backbone.out_indices}; docs/drop_in.md says what each kind of head takes."
    )


def lines_for(
    backbone: MambaBackbone, model: nn.Module, wanted: Sequence[float], given: Sequence[float]
) -> list[str]:
    """The lines of a config that bring the maps to the strides wanted.

    Args:
        wanted: what a head was built for.
        given: the strides that reach it now, behind the neck.

    Returns:
        Nothing where the backbone has no such maps.
    """
    offered = backbone.offered()
    # A neck keeps the stride of the first map, or divides it, whatever that is. It makes maps of
    # larger strides than it gets by itself, so that only the first has to be met.
    first = backbone.out_strides[0] * wanted[0] / given[0]
    strides = [s for s in offered if first * 2**-SAME < s < max(wanted) * 2**SAME]
    if not strides or not _same(strides[0], first):
        return []
    arguments = ", ".join(f"{k}={v!r}" for k, v in backbone.asking_for(strides).items())
    return [f"backbone=dict({arguments}),", _widths_line(model, [offered[s] for s in strides])]


def _widths_line(model: nn.Module, widths: list[int]) -> str:
    neck = getattr(model, "neck", None)
    if isinstance(neck, nn.Sequential):
        return f"neck=[dict(type='{type(neck[0]).__name__}', in_channels={widths}, ...), ...]"
    if neck is not None:
        return f"neck=dict(in_channels={widths})"
    return f"and in_channels of the head: {widths if len(widths) > 1 else widths[0]}"


def _check_widths(model: nn.Module) -> None:
    given = list(model.backbone.out_channels)
    neck = getattr(model, "neck", None)
    if neck is not None:
        first = neck[0] if isinstance(neck, nn.Sequential) else neck
        wanted = getattr(first, "in_channels", None)
        # Some necks name the coarsest map first, as YOLOv3's does.
        if isinstance(wanted, (list, tuple)) and list(wanted) not in (given, given[::-1]):
            raise MapError(
                f"{type(first).__name__} expects maps of {list(wanted)} channels, "
                f"{type(model.backbone).__name__} gives {given}. Write "
                f"{_widths_line(model, given)} into the config's model"
            )
        return
    for name in ("decode_head", "auxiliary_head"):
        heads = _modules(getattr(model, name, None))
        for head in heads:
            _check_segmentation_head(name, head, given, type(model.backbone).__name__)


def _check_views(model: nn.Module) -> None:
    """Heads of mmseg that `view` the maps want them contiguous."""
    if model.backbone.contiguous_maps:
        return
    meta = dict.fromkeys(("img_shape", "ori_shape", "pad_shape", "batch_input_shape"), (SIDE, SIDE))
    # Two images: the maps of one alone could be viewed in most ways.
    metas = [dict(meta, scale_factor=(1.0, 1.0), flip=False) for _ in range(2)]
    try:
        _passed(model, lambda images: model.encode_decode(images, metas), len(metas), SIDE)
    except RuntimeError as error:
        # What else may go wrong with an image of this size need not with the user's.
        if VIEW not in str(error):
            return
        raise MapError(
            f"a head behind {type(model.backbone).__name__} views the maps, which are "
            f"channels-last in memory: {error} "
            "Write backbone=dict(contiguous_maps=True) into the config's model"
        ) from error


def _check_segmentation_head(name: str, head: nn.Module, given: list[int], backbone: str) -> None:
    """Heads of mmseg read the maps `in_index`; cascades and K-Net read through another head."""
    wanted, places = getattr(head, "in_channels", None), getattr(head, "in_index", None)
    several = isinstance(places, (list, tuple))
    if not isinstance(places, int) and not several:
        return
    places = list(places) if several else [places]
    wanted = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
    # A head that resizes and joins its maps keeps the sum of their widths, which says too little.
    if len(wanted) != len(places):
        return
    if max(places) >= len(given) or min(places) < -len(given):
        raise MapError(
            f"{name} ({type(head).__name__}) reads the maps in_index={places}; {backbone} gives "
            f"{len(given)}. Write {name}=dict(in_index=...) into the config's model"
        )
    right = [given[i] for i in places]
    if wanted != right:
        value = right if several else right[0]
        raise MapError(
            f"{name} ({type(head).__name__}) expects maps of {wanted} channels at "
            f"in_index={places}; {backbone} gives {right} there. "
            f"Write {name}=dict(in_channels={value}) into the config's model"
        )


def _join(strides: Sequence[float]) -> str:
    return ", ".join(f"{s:g}" for s in strides)
