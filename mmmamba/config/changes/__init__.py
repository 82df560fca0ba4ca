"""What the flags of a command change in a config: `apply_flags` makes it, and tells each thing."""

from .early_stopping import fitting_patience, stopping_hook
from .flags import apply_flags, scale_learning_rate
from .learning_rate import Rate, rate_for, set_settings
from .length import follow_length
from .record import Changes
from .stretch import Stretch
from .tiles import is_tiled, set_tiles

__all__ = [
    "Changes",
    "Rate",
    "Stretch",
    "apply_flags",
    "fitting_patience",
    "follow_length",
    "is_tiled",
    "rate_for",
    "scale_learning_rate",
    "set_settings",
    "set_tiles",
    "stopping_hook",
]
