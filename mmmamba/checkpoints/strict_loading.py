"""Loading for MMEngine's modules: nothing half, nothing in silence."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor

from .catalogue import PUBLISHED, SIZES
from .init_cfg import is_pretrained, load_init_cfg
from .key_map import KeyMap
from .key_maps import KEY_MAPS
from .loading import Report, load_weights
from .published_files import Published, Size


class StrictLoading(BaseModule):
    """Base of modules that take published weights. It stands before other bases.

    A published family says in its class what its authors published, and is known from then on:
    `load_weights(family=)`, `list_published()` and the tables need no other entry.
    """

    KEY_MAP: KeyMap | None = None
    """How its authors' files become its state dict; None if its files have its own layout."""
    PUBLISHED: Sequence[Published] = ()
    """Its authors' files."""
    SIZES: Mapping[str, Size] = {}
    """What its authors print of the sizes of its variants."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make what the class itself brings known under its name; what it inherits is known."""
        super().__init_subclass__(**kwargs)
        # By `vars`: a variant that inherits a family's key map is no family of its own.
        own = vars(cls)
        if own.get("KEY_MAP"):
            KEY_MAPS[cls.__name__] = own["KEY_MAP"]
        if own.get("PUBLISHED"):
            PUBLISHED[cls.__name__] = own["PUBLISHED"]
        if own.get("SIZES"):
            SIZES[cls.__name__] = own["SIZES"]

    def init_weights(self) -> None:
        """Start as mmengine's modules do, but load `Pretrained` weights strictly.

        Raises:
            CheckpointError: weights that do not fit.
        """
        if not is_pretrained(self.init_cfg):
            super().init_weights()
        # Not by MMEngine's way, which initialises the children first and then loads what matches.
        elif not self.is_init:
            load_init_cfg(self, self.init_cfg)
            self._is_init = True

    def load_weights(self, weights: str | PathLike | Mapping[str, Tensor]) -> Report:
        """Load published weights, a detector's file, a user's own or ours, and return the report.

        Raises:
            CheckpointError: weights that do not fit.
        """
        return load_weights(self, weights)
