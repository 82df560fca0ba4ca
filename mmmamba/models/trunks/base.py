"""What every backbone has in common with mmdet's own: variants by name, freezing, loading, strict arguments."""

import functools
import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmmamba.suggest import did_you_mean

from ...checkpoints.strict_loading import StrictLoading
from .unread import watch_maps

logger = logging.getLogger("mmmamba")


def one_of(argument: str, value: str, known: Sequence[str]) -> str:
    """The value, if it is a known one.

    Raises:
        ValueError: it is not.
    """
    if value not in known:
        raise ValueError(
            f"{argument} is {value!r}, wanted one of {', '.join(map(repr, known))}."
            + did_you_mean(str(value), known)
        )
    return value


CONTIGUOUS_MAPS = inspect.Parameter(
    "contiguous_maps", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool
)


class MambaBackbone(StrictLoading, BaseModule):
    """Base of the backbones.

    A family lists its variants in `ARCHS`, `{name: {argument: value}}`, and takes each of those arguments in its
    constructor with the default None, "as the variant has it"; `_choose` puts the two together. It names its stem and
    its stages in `_parts`, sets `out_channels` and `out_strides`, and calls `_freeze` last.

    Every family also takes `contiguous_maps`: copy the maps, which are channels-last in memory, on
    their way out, for heads that `view` them.

    Attributes:
        out_channels, out_strides: of the maps that `forward` returns, in order.
    """

    ARCHS: dict[str, dict[str, Any]] = {}
    DEFAULTS: dict[str, Any] = {}
    TINY: dict[str, Any] = {}
    """Arguments of a small variant for tests."""

    out_indices: tuple[int, ...]
    out_channels: list[int]
    out_strides: list[int]
    contiguous_maps: bool = False
    not_built: tuple[str, ...] = ()
    """Patterns of names that published files have and this network, whose last map lies before their end, has not."""

    def __init_subclass__(cls, **kwargs: Any):
        """Give the constructor `contiguous_maps`, and make a misspelt argument an error that names the right one."""
        super().__init_subclass__(**kwargs)
        if "__init__" not in cls.__dict__:
            return
        original = cls.__init__
        signature = inspect.signature(original)
        known = [*(name for name in signature.parameters if name != "self"), "contiguous_maps"]

        @functools.wraps(original)
        def strict(self, *args: Any, contiguous_maps: bool | None = None, **arguments: Any):
            for name in arguments:
                if name not in known:
                    raise TypeError(
                        f"{cls.__name__} has no argument '{name}'.{did_you_mean(name, known)} "
                        f"It takes {', '.join(known)}."
                    )
            original(self, *args, **arguments)
            if contiguous_maps is not None:
                self.contiguous_maps = contiguous_maps

        parameters = sorted([*signature.parameters.values(), CONTIGUOUS_MAPS], key=lambda p: p.kind)
        strict.__signature__ = signature.replace(parameters=parameters)
        cls.__init__ = strict

    def __init__(self, frozen_stages: int, norm_eval: bool, init_cfg: dict | None):
        super().__init__(init_cfg)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self._told_unread = False

    @classmethod
    def families(cls) -> list[type["MambaBackbone"]]:
        """All registered families."""
        found = {
            f
            for f in MODELS.module_dict.values()
            if inspect.isclass(f) and issubclass(f, MambaBackbone)
        }
        return sorted(found, key=lambda family: family.__name__)

    @classmethod
    def _choose(cls, arch: str | Mapping[str, Any], **given: Any) -> dict[str, Any]:
        """The family's defaults, then the variant, then what the caller set (not None).

        Raises:
            ValueError: an unknown variant, or a key that no variant has.
        """
        if isinstance(arch, str):
            if arch not in cls.ARCHS:
                raise ValueError(
                    f"{cls.__name__} has no arch '{arch}'; it has {', '.join(cls.ARCHS)}, or takes a dict."
                    + did_you_mean(arch, list(cls.ARCHS))
                )
            variant = cls.ARCHS[arch]
        else:
            variant = dict(arch)
        for key in variant:
            if key not in given:
                raise ValueError(
                    f"arch of {cls.__name__} has no key '{key}'.{did_you_mean(key, list(given))} "
                    f"It takes {', '.join(given)}."
                )
        chosen = (
            cls.DEFAULTS
            | variant
            | {key: value for key, value in given.items() if value is not None}
        )
        missing = [key for key in given if key not in chosen]
        if missing:
            raise ValueError(f"arch of {cls.__name__} lacks {', '.join(missing)}")
        return chosen

    @classmethod
    def _check_out_indices(cls, out_indices: Sequence[int], stages: int) -> tuple[int, ...]:
        ascending = list(out_indices) == sorted(set(out_indices))
        if not out_indices or not ascending or not set(out_indices) <= set(range(stages)):
            raise ValueError(
                f"out_indices of {cls.__name__} is {tuple(out_indices)}, wanted ascending stages of 0 … "
                f"{stages - 1}"
            )
        return tuple(out_indices)

    def _watched(
        self, maps: Sequence[Tensor], owners: Sequence[Sequence[nn.Module]]
    ) -> tuple[Tensor, ...]:
        """The maps as they are, with gradients of zero for what belongs to those that nobody reads.

        Args:
            owners: for each map the modules that only it passes through.
        """
        return watch_maps(maps, owners, self._tell_unread)

    def _leaving(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(m.contiguous() for m in maps) if self.contiguous_maps else tuple(maps)

    def _tell_unread(self, places: list[int]) -> None:
        if self._told_unread:
            return
        self._told_unread = True
        left = tuple(index for n, index in enumerate(self.out_indices) if n not in places)
        strides = ", ".join(str(self.out_strides[n]) for n in places)
        logger.info(
            "%s: nothing reads its maps %s (strides %s). They are made all the same; out_indices=%s, and a "
            "neck or head for those, would save that.",
            type(self).__name__,
            places,
            strides,
            left,
        )

    def _parts(self) -> list[list[nn.Module]]:
        """The stem's modules, then each stage's, in the order of `frozen_stages`."""
        raise NotImplementedError

    def _freeze(self) -> None:
        """Stop training of the first `frozen_stages` stages (0: the stem alone, -1: nothing), as mmdet counts them.

        Raises:
            ValueError: more stages than there are.
        """
        parts = self._parts()
        if not -1 <= self.frozen_stages < len(parts):
            raise ValueError(
                f"frozen_stages is {self.frozen_stages}, wanted -1 (none), 0 (stem) … {len(parts) - 1}"
            )
        for module in sum(parts[: self.frozen_stages + 1], []):
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> "MambaBackbone":
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
