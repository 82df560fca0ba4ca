"""What the flags of a command change in a config: `apply_flags` makes it, and tells each thing."""

from .early_stopping import fitting_patience, stopping_hook
from .flags import apply_flags, scale_learning_rate
from .learning_rate import Rate, rate_for, set_settings
from .length import follow_length
from .record import Changes
from .stretch import Stretch

__all__ = [
    "Changes",
    "Rate",
    "Stretch",
    "apply_flags",
    "fitting_patience",
    "follow_length",
    "rate_for",
    "scale_learning_rate",
    "set_settings",
    "stopping_hook",
]
