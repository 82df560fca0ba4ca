"""All weights of a network from what a checkpoint holds, or none.

This is the one strictness of every command.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from ...checkpoints import CheckpointError, KeyMap
from ...checkpoints.errors import UnfitError
from ...checkpoints.key_maps import key_map_of
from ...checkpoints.loading import Report, fit
from ...checkpoints.strict_loading import StrictLoading
from ...checkpoints.unwrap import BACKBONE, Unwrapped, sparing, unwrap
from ..bare_model import bare_model

logger = logging.getLogger("mmmamba")

WHOLE = KeyMap(
    under=("state_dict", "model"), whole=True, may_be_surplus=(r"data_preprocessor\..*",)
)


def load_whole(model: nn.Module, held: Mapping) -> None:
    """Load every weight of a network from what its checkpoint holds.

    Those of backbones may have the names that their authors gave them.

    Raises:
        CheckpointError: a weight is missing, left over, of another shape or not finite.
    """
    matched, reports = fit_whole(model, held)
    # Not strict: it was judged above, and batch norms' counters may rightly be missing.
    bare_model(model).load_state_dict(matched, strict=False)
    for report in reports:
        logger.info("%s", report)


def fit_whole(
    model: nn.Module, held: Mapping, label: str = "it", may_differ: Sequence[str] = ()
) -> tuple[dict[str, Tensor], list[Report]]:
    """The state dict of a network as its checkpoint holds it, under our names.

    With it comes what became of each tensor.

    Args:
        label: what the checkpoint is called in reports and errors.
        may_differ: names of modules and weights that the checkpoint may lack, have of another shape
            or have alone. They are in the result where they fit.

    Raises:
        UnfitError: a weight is missing, left over, of another shape or not finite.
        CheckpointError: there are no weights, or those of a backbone alone.
    """
    model = bare_model(model)
    if isinstance(model, StrictLoading):
        return _fit_backbone(model, held, label, "", may_differ)
    target = _tensors(model)
    key_map = sparing(WHOLE, target)
    found = unwrap(held, key_map)
    network = type(model).__name__
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, StrictLoading):
        return _fit_part(model, target, found, key_map, label, network, "", may_differ)
    others, wanted = _without_backbone(found.state), _without_backbone(target)
    alone = len(others) in (0, len(found.state))
    if alone and wanted:
        raise CheckpointError(
            f"{label} holds {', '.join(list(found.state)[:3])}, …: a backbone alone. Give the "
            f"checkpoint of a trained {network}"
        )
    # A backbone of ours has its authors' names to be understood by, the parts around it do not.
    inner, reports = _fit_backbone(backbone, held, label, BACKBONE, may_differ)
    # Classifiers whose backbones give logits have no other weights.
    if alone:
        return inner, reports
    outer, more = _fit_part(
        model,
        wanted,
        replace(found, state=others),
        key_map,
        label,
        f"{network} without its backbone",
        "",
        may_differ,
    )
    return {**inner, **outer}, reports + more


def below(names: Sequence[str], prefix: str = "") -> list[str]:
    """Patterns of the weights that names of modules or weights stand for.

    Args:
        prefix: that the names have and the weights have lost; names without it are left out.
    """
    return [
        rf"{re.escape(name.removeprefix(prefix))}(\..*)?"
        for name in names
        if name.startswith(prefix)
    ]


def _fit_backbone(
    backbone: nn.Module, held: Mapping, label: str, prefix: str, may_differ: Sequence[str]
) -> tuple[dict[str, Tensor], list[Report]]:
    """Fit a backbone of ours, alone or in a network, by the names of its family."""
    family, key_map = key_map_of(backbone)
    found = unwrap(held, key_map)
    return _fit_part(
        backbone, _tensors(backbone), found, key_map, label, family, prefix, may_differ
    )


def _fit_part(
    module: nn.Module,
    target: Mapping[str, Tensor],
    found: Unwrapped,
    key_map: KeyMap,
    label: str,
    family: str,
    prefix: str,
    may_differ: Sequence[str],
) -> tuple[dict[str, Tensor], list[Report]]:
    """As `fit`, with the prefix of the part in the network put before the names."""
    allowed = [r".*"] if prefix.rstrip(".") in may_differ else below(may_differ, prefix)
    try:
        matched, report = fit(
            module, target, found, key_map, label, family, allowed, allowed, allowed
        )
    except UnfitError as error:
        raise UnfitError(
            error.finding, error.cure, [prefix + name for name in error.names]
        ) from error
    return {prefix + name: tensor for name, tensor in matched.items()}, [report]


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """The state dict without what is no tensor, such as a module's extra state."""
    state = module.state_dict()
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _without_backbone(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if not name.startswith(BACKBONE)}
