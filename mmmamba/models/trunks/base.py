"""What all backbones share with mmdet's: variants by name, freezing, loading, strict arguments."""

import inspect
import logging
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmmamba.layers.packed import pack_plain_layers
from mmmamba.suggest import did_you_mean

from ...checkpoints.strict_loading import StrictLoading
from .arch import BaseArch, choose, field_names, with_fields
from .unread import watch_maps

logger = logging.getLogger("mmmamba")


class MambaBackbone(StrictLoading, BaseModule):
    """Base of the backbones.

    A family says its choices once, in a frozen dataclass that it holds as `Arch`. It names its
    variants in `ARCHS` and makes its parts in `build`, which its trunk calls: `PyramidBackbone`,
    `PlainBackbone` or `StreamBackbone`. The fields of `Arch` become arguments of its constructor,
    beside those that follow.

    Args:
        arch: a name of `ARCHS`, a dict of the fields of `Arch`, or an `Arch`.
        in_channels: channels of the images.
        out_indices: the maps to return, by stage (of a column: by block), ascending. Nothing is
            built that none of them needs.
        frozen_stages: how many stages (of a column: blocks) are not trained; 0 freezes the stem
            alone, -1 nothing.
        norm_eval: keep batch norms in evaluation mode while training.
        with_cp: compute what is inside a block again in the backward pass instead of keeping it.
        classifier: return ImageNet logits instead of maps.
        num_classes: number of those logits.
        contiguous_maps: copy the maps, which are channels-last in memory, on their way out, for
            heads that `view` them.
        init_cfg: as MMEngine's; `Pretrained` loads published weights, strictly.
        overrides: fields of `Arch`, in place of what `arch` says; None leaves one as it is.

    Attributes:
        out_channels, out_strides: of the maps that `forward` returns, in order.
        not_built: patterns of names that published files have and this network lacks, because
            its last map lies before their end.

    Raises:
        TypeError: an argument that the family does not have.
        ValueError: an unknown arch, or a value that does not fit.
    """

    Arch: ClassVar[type[BaseArch]]
    ARCHS: ClassVar[Mapping[str, Any]] = {}
    TINY: ClassVar[dict[str, Any]] = {}
    """Arguments of a small variant for tests."""
    OF_MAPS: ClassVar[tuple[str, ...]] = ()
    """Patterns of names that only a network of maps has, for families without a key map."""
    OF_CLASSIFIER: ClassVar[tuple[str, ...]] = ()
    """Those that only a classifier has: a family with ends of its own says them."""
    STANDS_ALONE: ClassVar[bool] = True
    """Whether it fits into any network; else it is a part of one that was published whole, and
    `families` leaves it out."""

    out_indices: tuple[int, ...]
    out_channels: list[int]
    out_strides: list[int]
    not_built: tuple[str, ...] = ()

    def __init_subclass__(cls, **kwargs: Any):
        """Give a family a constructor whose signature names the fields of its `Arch`."""
        super().__init_subclass__(**kwargs)
        # In `vars`, so that a subclass of a family inherits the constructor made for that.
        if "Arch" in vars(cls) and "__init__" not in vars(cls):
            cls.__init__ = _constructor(cls)  # type: ignore[method-assign]

    def __init__(
        self,
        arch: str | Mapping[str, Any] | BaseArch | None = None,
        *,
        in_channels: int = 3,
        out_indices: Sequence[int] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        classifier: bool = False,
        num_classes: int = 1000,
        contiguous_maps: bool = False,
        init_cfg: dict | None = None,
        **overrides: Any,
    ):
        super().__init__(init_cfg)
        self._refuse_unknown(overrides)
        self.in_channels = in_channels
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.is_classifier = classifier
        self.contiguous_maps = contiguous_maps
        self._told_unread = False
        chosen = choose(type(self).__name__, self.Arch, self.ARCHS, arch, overrides)
        self._assemble(chosen, self.build(chosen, in_channels), out_indices, num_classes)
        # Here for all families, whose mixers and blocks are made of PyTorch's own layers.
        pack_plain_layers(self)
        # Not only in `train`: optimizer and DDP look for what requires gradients before that is
        # called.
        self._freeze()

    @abstractmethod
    def build(self, a: Any, in_channels: int) -> Any:
        """The family's parts, for its trunk to put together.

        Args:
            a: the family's `Arch`.
        """

    @abstractmethod
    def _assemble(
        self, a: Any, parts: Any, out_indices: Sequence[int] | None, num_classes: int
    ) -> None:
        """Register the parts and set `out_indices`, `out_channels` and `out_strides`."""

    @abstractmethod
    def _parts(self) -> list[list[nn.Module]]:
        """The stem's modules, then each stage's, in the order of `frozen_stages`."""

    @abstractmethod
    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """How deep a parameter lies, and how many depths there are, as mmpretrain asks for it.

        The stem is at 0, the blocks follow one by one, and what reads them comes last. A step down
        counts with the block after it.

        Args:
            param_name: its name, with what stands before those of the backbone.
            prefix: that, `backbone.` in a detector.
        """

    @abstractmethod
    def offered(self) -> dict[int, int]:
        """The width of the map at each stride that there can be, whichever are asked for now."""

    @abstractmethod
    def asking_for(self, strides: Sequence[int]) -> dict[str, Any]:
        """The arguments that bring out the maps of some of the strides `offered`, ascending."""

    @abstractmethod
    def open_classifier(self, x_BCHW: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """What a classifier makes of images, in two halves.

        Returns:
            The last map `(B, C, H, W)` that the logits depend on, and what makes logits of it. A
            class token reads the cells within the last block: there it is the map before that.
        """

    @classmethod
    def families(cls) -> list[type["MambaBackbone"]]:
        """All registered families that stand alone."""
        # A set, as one class may be registered under several names.
        found = {
            f
            for f in MODELS.module_dict.values()
            if inspect.isclass(f) and issubclass(f, MambaBackbone) and f.STANDS_ALONE
        }
        return sorted(found, key=lambda family: family.__name__)

    @classmethod
    def _refuse_unknown(cls, overrides: Mapping[str, Any]) -> None:
        fields = field_names(cls.Arch)
        known = [*COMMON, *fields]
        for name in overrides:
            if name not in fields:
                raise TypeError(
                    f"{cls.__name__} has no argument '{name}'.{did_you_mean(name, known)} "
                    f"It takes {', '.join(known)}."
                )

    @classmethod
    def _check_out_indices(cls, out_indices: Sequence[int], stages: int) -> tuple[int, ...]:
        ascending = list(out_indices) == sorted(set(out_indices))
        if not out_indices or not ascending or not set(out_indices) <= set(range(stages)):
            raise ValueError(
                f"out_indices of {cls.__name__} is {tuple(out_indices)}, wanted ascending stages "
                f"of 0 … {stages - 1}"
            )
        return tuple(out_indices)

    def _watched(
        self, maps: Sequence[Tensor], owners: Sequence[Sequence[nn.Module]]
    ) -> tuple[Tensor, ...]:
        """The maps as they are, with gradients of zero for what belongs to those nobody reads.

        Args:
            owners: for each map the modules that only it passes through.
        """
        return watch_maps(maps, owners, self._tell_unread)

    def _leaving(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(m.contiguous() for m in maps) if self.contiguous_maps else tuple(maps)

    def _tell_unread(self, places: list[int]) -> None:
        if self._told_unread:
            return
        # Once: it is called in every backward pass in which a map goes unread.
        self._told_unread = True
        left = tuple(index for n, index in enumerate(self.out_indices) if n not in places)
        strides = ", ".join(str(self.out_strides[n]) for n in places)
        logger.info(
            "%s: nothing reads its maps %s (strides %s). They are made all the same; "
            "out_indices=%s, and a neck or head for those, would save that.",
            type(self).__name__,
            places,
            strides,
            left,
        )

    def _freeze(self) -> None:
        """Stop the training of the stem and the first `frozen_stages` stages, as mmdet counts.

        Raises:
            ValueError: more stages than there are.
        """
        parts = self._parts()
        if not -1 <= self.frozen_stages < len(parts):
            raise ValueError(
                f"frozen_stages is {self.frozen_stages}, wanted -1 (none), 0 (stem) … "
                f"{len(parts) - 1}"
            )
        # `parts` begins with the stem, so that -1 takes nothing and 0 the stem alone.
        for modules in parts[: self.frozen_stages + 1]:
            for module in modules:
                module.eval()
                module.requires_grad_(False)

    def train(self, mode: bool = True) -> "MambaBackbone":
        super().train(mode)
        # Above, mode went to every module: what stands still has to be put back.
        self._freeze()
        # Only running statistics stand still here; the norms' weights go on learning.
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


COMMON_SIGNATURE = inspect.signature(MambaBackbone.__init__)
COMMON = [name for name in COMMON_SIGNATURE.parameters if name not in ("self", "overrides")]


def _constructor(family: type[MambaBackbone]) -> Callable[..., None]:
    """A function of the family's own: configs are checked by the signature of `__init__`."""

    def __init__(self: MambaBackbone, *args: Any, **arguments: Any) -> None:
        # With its arguments, since a function made outside of a class body has no `__class__` for a
        # bare `super()`.
        super(family, self).__init__(*args, **arguments)

    __init__.__signature__ = with_fields(  # type: ignore[attr-defined]
        COMMON_SIGNATURE, family.Arch, family.ARCHS
    )
    __init__.__qualname__ = f"{family.__qualname__}.__init__"
    __init__.__module__ = family.__module__
    return __init__


def drop_path_rates(rate: float, depths: Sequence[int]) -> list[list[float]]:
    """Rates rising linearly from 0 at the first block to `rate` at the last, stage by stage."""
    # A network of one block keeps the rate of a first one, 0.
    last = max(sum(depths) - 1, 1)
    rates = [rate * i / last for i in range(sum(depths))]
    return [rates[sum(depths[:i]) : sum(depths[: i + 1])] for i in range(len(depths))]


def init_linears(module: nn.Module) -> None:
    """Truncated normal of std 0.02, biases zero (for `module.apply`): where most families start."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def init_by_fan_out(module: nn.Module) -> None:
    """`init_linears`; convolutions normal by how many outputs an input reaches, biases zero.

    (PVT, arXiv 2102.12122, and what was made of it.)
    """
    init_linears(module)
    if isinstance(module, nn.Conv2d):
        fan_out = module.out_channels // module.groups * math.prod(module.kernel_size)
        nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
