"""What configs of detectors need beside the backbones: `custom_imports = dict(imports=["mmmamba.detection"])`.

Apart from `mmmamba`, because it imports mmdet as a whole, which takes seconds that classifiers need not spend.
"""

from .datasets import transforms  # noqa: F401  (these register what they hold)
from .engine import merged_groups, yolo_warmup  # noqa: F401
from .models import dense_heads, detectors, losses, roi_heads, task_modules  # noqa: F401
