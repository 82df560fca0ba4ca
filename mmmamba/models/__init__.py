"""What MMEngine's registry sees without mmdet."""

from . import backbones, necks, norms  # noqa: F401
from .segmentors.sigma import backbone  # noqa: F401
from .yolo import neck  # noqa: F401
