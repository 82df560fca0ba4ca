"""What configs of segmentors that were published whole need beside the backbones.

They begin with `custom_imports = dict(imports=["mmmamba.segmentation"])`.

Apart from `mmmamba`, because it imports mmseg as a whole, which takes seconds.
"""

# All of these are imported for what they register with MMEngine.
from .datasets import small_targets as small_target_dataset  # noqa: F401
from .datasets.saliency import dataset as saliency_dataset  # noqa: F401
from .datasets.saliency import transforms as saliency_transforms  # noqa: F401
from .evaluation import saliency as saliency_metric  # noqa: F401
from .evaluation import small_targets as small_target_metric  # noqa: F401
from .models.segmentors.mim_istd import backbone as mim_istd_backbone  # noqa: F401
from .models.segmentors.mim_istd import head as mim_istd_head  # noqa: F401
from .models.segmentors.saliency import decoder as saliency_decoder  # noqa: F401
from .models.segmentors.saliency import losses as saliency_losses  # noqa: F401
from .models.segmentors.saliency import preprocessor as saliency_preprocessor  # noqa: F401
from .models.segmentors.saliency import segmentor as saliency_segmentor  # noqa: F401
from .models.segmentors.sigma import head as sigma_head  # noqa: F401
