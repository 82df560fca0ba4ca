"""What configs of classifiers need beside the backbones; needs the extra `pretrain`.

They begin with `custom_imports = dict(imports=["mmmamba.classification"])`.
"""

from .config.modules import need_mmpretrain

# Before anything imports it.
need_mmpretrain()

from . import models  # noqa: F401
from .engine import layer_decay  # noqa: F401
from .engine.hooks import mesa  # noqa: F401
from .models import classification  # noqa: F401
