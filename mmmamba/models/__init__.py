"""What MMEngine's registry sees."""

from . import backbones  # noqa: F401  (registers them)
