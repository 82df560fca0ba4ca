"""Weights that a run would begin with and that others take the place of are not fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from mmengine.runner import Runner

from ..bare_model import bare_model

PRETRAINED = ("Pretrained", "PretrainedInit", PretrainedInit)


def leave_out_superfluous(runner: Runner, may_differ: Sequence[str]) -> None:
    """Have nothing fetched by `init_cfg` that the checkpoint of this run replaces.

    Args:
        may_differ: names of modules and weights that the checkpoint may lack, which begin as their
            `init_cfg` says.
    """
    if runner._load_from is None:
        return
    left = []
    for name, module in bare_model(runner.model).named_modules():
        asked = getattr(module, "init_cfg", None)
        if not asked or any(_overlap(name, one) for one in may_differ):
            continue
        entries = asked if isinstance(asked, (list, tuple)) else [asked]
        kept = [entry for entry in entries if not _is_pretrained(entry)]
        if len(kept) < len(entries):
            left += [str(entry.get("checkpoint")) for entry in entries if entry not in kept]
            module.init_cfg = kept or None
    if left:
        print_log(
            f"all weights come from {runner._load_from}: {', '.join(left)} is not fetched",
            logger="current",
        )


def _overlap(module: str, name: str) -> bool:
    """Whether one of two names is the other or within it; the model itself has no name."""
    return not module or f"{module}.".startswith(f"{name}.") or f"{name}.".startswith(f"{module}.")


def _is_pretrained(entry: Any) -> bool:
    return isinstance(entry, Mapping) and entry.get("type") in PRETRAINED
