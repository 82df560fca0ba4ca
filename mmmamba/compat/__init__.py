"""What the libraries below need on a bare machine.

`install` answers for mmcv's compiled operators and must run before anything imports
`mmcv.ops`; `check_opencv` says what to do where OpenCV does not import; `find_mmseg`
lets MMEngine read `mmseg::` configs; `leave_language_models_out` lets
mmpretrain be imported beside transformers 5.
"""

from .config_names import find_mmseg
from .extension import compiled_extension, install
from .language_models import leave_language_models_out
from .opencv import check_opencv

__all__ = [
    "check_opencv",
    "compiled_extension",
    "find_mmseg",
    "install",
    "leave_language_models_out",
]
