"""Compiled loops for the CPU."""

import torch


def unavailable(device: torch.device) -> str | None:
    return "not written yet"
