"""Published weights: where they are, how they are read safely, how their names become ours."""

from .catalogue import list_published, published
from .errors import CheckpointError
from .grids import PositionGrid, token_positions
from .init_cfg import is_pretrained, load_init_cfg
from .key_map import OUTPUT_NORMS, Fingerprint, KeyMap
from .key_maps import KEY_MAPS
from .loading import Report, load_weights
from .published_files import Published, Repository, Size
from .reading import read_checkpoint

__all__ = [
    "KEY_MAPS",
    "OUTPUT_NORMS",
    "CheckpointError",
    "Fingerprint",
    "KeyMap",
    "PositionGrid",
    "Published",
    "Report",
    "Repository",
    "Size",
    "is_pretrained",
    "list_published",
    "load_init_cfg",
    "load_weights",
    "published",
    "read_checkpoint",
    "token_positions",
]
