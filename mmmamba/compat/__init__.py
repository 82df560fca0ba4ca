"""What the libraries below need on a bare machine.

`install` answers for mmcv's compiled operators and must run before anything imports
`mmcv.ops`; `check_opencv` says what to do where OpenCV does not import; `find_mmseg`
lets MMEngine read `mmseg::` configs.
"""

from .config_names import find_mmseg
from .extension import compiled_extension, install
from .opencv import check_opencv

__all__ = ["check_opencv", "compiled_extension", "find_mmseg", "install"]
