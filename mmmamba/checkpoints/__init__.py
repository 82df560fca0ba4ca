"""Published weights: where they are, how they are read safely, how their names become ours."""

from .errors import CheckpointError
from .grids import PositionGrid
from .init_cfg import is_pretrained, load_init_cfg
from .key_map import Fingerprint, KeyMap
from .key_maps import KEY_MAPS
from .loading import Report, load_weights
from .published import Published, list_published, published
from .reading import read_checkpoint

__all__ = [
    "KEY_MAPS",
    "CheckpointError",
    "Fingerprint",
    "KeyMap",
    "PositionGrid",
    "Published",
    "Report",
    "is_pretrained",
    "list_published",
    "load_init_cfg",
    "load_weights",
    "published",
    "read_checkpoint",
]
