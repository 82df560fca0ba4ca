"""Necks and heads of shipped configs with as few channels as a CPU has time for."""

from __future__ import annotations

from typing import Any

FEW, MANY = 32, 64
"""Channels that a part gets if it has more than so many; tiny backbones have fewer."""


def narrow(part: Any) -> None:
    """Give a model's config, or a part of it, few channels wherever it has many."""
    if isinstance(part, list):
        for one in part:
            narrow(one)
    elif isinstance(part, dict):
        for key, value in part.items():
            if not key.endswith("channels"):
                narrow(value)
            elif isinstance(value, list):
                part[key] = [_few(width) for width in value]
            elif value is not None:
                part[key] = _few(value)
        # Of segmentation heads, whatever reads them.
        if "channels" in part:
            part["channels"] = FEW


def _few(width: int) -> int:
    return FEW if width > MANY else width
