"""MMEngine's checkpoint reader without its way back to unpickling.

MMEngine 0.10.12 reads with `weights_only=True` first and, where that refuses a file, warns and unpickles it, which runs
whatever code the file holds. Our tools load and resume through this reader instead.
"""

import pickle
from typing import Any

import torch
from mmengine.runner import checkpoint

from mmmamba.checkpoints import CheckpointError


def refuse_unpickling() -> None:
    """Put the strict reader in MMEngine's place, for every scheme that it loads from (files, http, s3, …)."""
    checkpoint._safe_torch_load = read_weights_only


def read_weights_only(file: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
    """`torch.load` with `weights_only=True` and MMEngine's own allow-list, whatever is asked for.

    Raises:
        CheckpointError: the file holds objects that are not weights.
    """
    with torch.serialization.safe_globals(checkpoint.get_torch_safe_globals()):
        try:
            return torch.load(file, map_location=map_location, weights_only=True)
        except pickle.UnpicklingError as error:
            raise CheckpointError(
                f"{file} holds objects that are not weights and could run code when read. Refused, and nothing of it was "
                f"run. If it is yours, save its state_dict alone: torch.save(state_dict, path). ({error})"
            ) from error
