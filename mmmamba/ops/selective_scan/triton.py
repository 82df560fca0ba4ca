"""Place of the CUDA backend in Triton."""

import torch


def unavailable(device: torch.device) -> str | None:
    return "not written yet"
