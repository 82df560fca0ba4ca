"""Everything that is drawn, in one style (`style.py`).

- On an image: `objects.py` draws a box, a mask, a name; `regions.py` tints pixels by class;
  `legend.py` says which colour is which; `predictions.py` shows what a model found.
- `sheets/` puts many images on one: a data set, the first batches, a validation.
- `charts/` draws the numbers of a run: curves, precision and recall, IoUs, confusion.
- What a model looks at, each in a file with what it computes: `scan_path.py`,
  `implicit_attention.py`, `feature_maps.py`, `grad_cam.py`, `receptive_field.py`, `routes.py`.
"""

from .feature_maps import draw_feature_maps, feature_maps, mean_activation, principal_colours
from .grad_cam import GradCam, classification_cam, detection_cam, draw_grad_cam, segmentation_cam
from .implicit_attention import (
    ImplicitAttention,
    attention_weights,
    draw_implicit_attention,
    implicit_attention,
)
from .picture import Picture
from .receptive_field import (
    contribution_shares,
    draw_receptive_fields,
    effective_receptive_field,
    last_map,
    random_crops,
)
from .routes import draw_routes
from .scan_path import draw_scan_path, scan_path
from .scans import Scan, choose_scan, record_scans

__all__ = [
    "GradCam",
    "ImplicitAttention",
    "Picture",
    "Scan",
    "attention_weights",
    "choose_scan",
    "classification_cam",
    "contribution_shares",
    "detection_cam",
    "draw_feature_maps",
    "draw_grad_cam",
    "draw_implicit_attention",
    "draw_receptive_fields",
    "draw_routes",
    "draw_scan_path",
    "effective_receptive_field",
    "feature_maps",
    "implicit_attention",
    "last_map",
    "mean_activation",
    "principal_colours",
    "random_crops",
    "record_scans",
    "scan_path",
    "segmentation_cam",
]
