"""Products in int8: chosen by measured error, with ranges from images."""

from .images import calibration
from .report import QuantizeReport
from .search import quantize

__all__ = ["QuantizeReport", "calibration", "quantize"]
