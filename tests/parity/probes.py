"""Compare the outputs of inner modules: where a mismatch begins, and what the maps hide."""

import functools
from collections.abc import Callable
from typing import Any

import torch

from . import harness


def check_probes(
    case: dict[str, Any],
    model: torch.nn.Module,
    path_of: Callable[[str], str],
    layout: Callable[[str, torch.Tensor], torch.Tensor] = lambda name, output: output,
) -> None:
    """The case's `probes` and `probes_odd`.

    Args:
        model: with the case's weights.
        path_of: our module of a module of theirs.
        layout: (their name, our output) to the output in their order of axes.
    """
    for suffix in ("", "_odd"):
        if f"probes{suffix}" not in case:
            continue
        seen: dict[str, torch.Tensor] = {}

        def keep(module, args, output, name, seen=seen):
            seen[name] = layout(name, output)

        hooks = [
            model.get_submodule(path_of(name)).register_forward_hook(
                functools.partial(keep, name=name)
            )
            for name in case[f"probes{suffix}"]
        ]
        harness.run(model, case[f"input{suffix}"])
        for hook in hooks:
            hook.remove()
        harness.compare(
            {name: seen[name] for name in case[f"probes{suffix}"]},
            case[f"probes{suffix}"],
            case.get("tolerance_suggested", 1e-4),
        )
