"""What MMEngine's registry sees."""

from . import backbones, necks  # noqa: F401  (registers them)
