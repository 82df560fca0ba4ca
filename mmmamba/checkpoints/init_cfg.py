"""mmengine's `init_cfg=dict(type='Pretrained', checkpoint=...)`, answered by `load_weights`."""

import inspect
from collections.abc import Mapping

from mmengine.model import PretrainedInit
from torch import nn

from ..suggest import did_you_mean
from .errors import CheckpointError
from .loading import Report, load_weights

# Read off the function, so that an option of `load_weights` is one of `init_cfg`, too.
OPTIONS = tuple(
    p.name for p in inspect.signature(load_weights).parameters.values() if p.kind is p.KEYWORD_ONLY
)


def is_pretrained(init_cfg: object) -> bool:
    """Whether an `init_cfg` asks for a checkpoint.

    Raises:
        CheckpointError: a list asks for one among other initialisers, where mmengine's own loader
            would take over.
    """
    if isinstance(init_cfg, (list, tuple)):
        if any(is_pretrained(one) for one in init_cfg):
            raise CheckpointError(
                "init_cfg is a list with 'Pretrained' in it. Weights are loaded whole, so other "
                "initialisers have no effect: "
                "give the dict(type='Pretrained', checkpoint=...) alone."
            )
        return False
    # The class itself stands there in configs that import it (`read_base`).
    return isinstance(init_cfg, Mapping) and init_cfg.get("type") in (
        "Pretrained",
        "PretrainedInit",
        PretrainedInit,
    )


def load_init_cfg(module: nn.Module, init_cfg: Mapping) -> Report:
    """Load weights as an `init_cfg=dict(type='Pretrained', checkpoint=...)` asks for it.

    All options of `load_weights`, such as `prefix='backbone.'`, may stand beside `checkpoint`.

    Raises:
        CheckpointError: no `checkpoint`, an option that is none, or what `load_weights` raises.
    """
    if not is_pretrained(init_cfg):
        raise CheckpointError(
            f"init_cfg asks for {init_cfg!r}, not for dict(type='Pretrained', checkpoint=...)."
        )
    options = {
        name: value for name, value in init_cfg.items() if name not in ("type", "checkpoint")
    }
    for name in options:
        if name not in OPTIONS:
            raise CheckpointError(
                f"init_cfg has an unknown entry '{name}'; it takes checkpoint, "
                f"{', '.join(OPTIONS)}." + did_you_mean(name, OPTIONS)
            )
    if not init_cfg.get("checkpoint"):
        raise CheckpointError(
            "init_cfg=dict(type='Pretrained') names no checkpoint: give checkpoint=<path or URL>."
        )
    return load_weights(module, init_cfg["checkpoint"], **options)
