"""Flags of networks in PyTorch that mean nothing for an exported file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import UsageError

REASONS = {
    "checkpoint": "its weights are in it: leave the checkpoint out",
    "cfg-options": "it has no config: export it again with these --cfg-options",
    "imgsz": "it takes images of one size: export it again with --size, or with --dynamic",
    "precision": "the precision of its numbers was chosen when it was exported: mmmamba export "
    "--half or --int8",
    "graphs": "its runtime runs it, without CUDA graphs",
    "tf32": "its runtime multiplies as it does: leave it out",
    "fuse": "its batch norms were folded, or not, when it was exported: leave it out",
    "tta": "it says what it found, which is not merged over views of an image. Test the checkpoint "
    "with --tta",
    "train": "it cannot be trained: leave it out",
    "launcher": "it is tested by one process: leave it out",
}


def refuse_flags(path: str | Path, **given: Any) -> None:
    """Tell the first flag that was given, and why a file does not take it.

    Args:
        given: what each flag was set to; None, False or nothing where it was not given.

    Raises:
        UsageError: one was given.
    """
    for name, value in given.items():
        if value is None or value is False or value == {}:
            continue
        flag = name.replace("_", "-")
        shown = "" if value is True or isinstance(value, dict) else f" {value}"
        raise UsageError(f"--{flag}{shown}: {path} is an exported file, {REASONS[flag]}")
