"""What configs of detectors need beside the backbones.

They begin with `custom_imports = dict(imports=["mmmamba.detection"])`.

Apart from `mmmamba`, because it imports mmdet as a whole, which takes seconds that classifiers
need not spend.
"""

# All of these are imported for what they register with MMEngine.
from .datasets import paired, shared_batch, tiled, transforms  # noqa: F401
from .engine import averages, layer_decay  # noqa: F401
from .engine.hooks import yolo_warmup  # noqa: F401
from .evaluation import tiled_coco  # noqa: F401
from .models import one_stage, preprocessors, two_stage  # noqa: F401
from .models.yolo import assigner, detector, head, loss  # noqa: F401
