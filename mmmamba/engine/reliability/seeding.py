"""Random numbers that follow from where a run is, not from how it came there."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def seed_all(*key: int) -> None:
    """Seed Python, NumPy and PyTorch, with the GPUs where they are in use, from a tuple of numbers.

    A key and the same with zeros behind it are one: NumPy fills keys up with them.
    """
    # Not sums or products of the numbers, which would give neighbours the same seeds.
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
    random.seed(seed)
    # NumPy takes 32 bits, the others all 64.
    np.random.seed(seed & 0xFFFFFFFF)
    # Not torch.manual_seed: it formats a stack trace on each call until CUDA is used.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


def rng_state() -> dict[str, Any]:
    """The state of every generator that `seed_all` seeds.

    It is made of types that load without unpickling code.
    """
    name, words, *rest = np.random.get_state()
    state = {
        "python": random.getstate(),
        "numpy": (name, words.tolist(), *rest),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Go back to a state of `rng_state`; GPUs beyond those at hand are left out."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available():
        for device, one in zip(range(torch.cuda.device_count()), state.get("cuda", ())):
            torch.cuda.set_rng_state(one.cpu(), device)
