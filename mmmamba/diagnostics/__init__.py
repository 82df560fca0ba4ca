"""What runs where, whether it is right, and how fast memory is: what `mmmamba doctor` prints."""

from .bandwidth import Rate, measure_rates
from .checks import Check
from .choices import Choice, scan_choices
from .mmcv_checks import check_mmcv_operators
from .norm_checks import check_layer_norm
from .scan_checks import check_scan

__all__ = [
    "Check",
    "Choice",
    "Rate",
    "check_layer_norm",
    "check_mmcv_operators",
    "check_scan",
    "measure_rates",
    "scan_choices",
]
