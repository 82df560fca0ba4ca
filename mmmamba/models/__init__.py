"""What MMEngine's registry sees without mmdet."""

from . import backbones, necks, norms  # noqa: F401
from .yolo import level_blocks, pafpn  # noqa: F401
