"""What MMEngine's registry sees."""

from . import backbones, necks, norms  # noqa: F401  (registers them)
