"""Published weights: where they are, how they are read safely, how their names become ours."""

from .errors import CheckpointError
from .init_cfg import is_pretrained, load_init_cfg
from .key_maps import KEY_MAPS, Fingerprint, KeyMap
from .loading import Report, load_weights
from .reading import read_checkpoint

__all__ = [
    "KEY_MAPS",
    "CheckpointError",
    "Fingerprint",
    "KeyMap",
    "Report",
    "is_pretrained",
    "load_init_cfg",
    "load_weights",
    "read_checkpoint",
]
