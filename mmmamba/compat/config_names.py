"""Configs of mmsegmentation by name, `mmseg::…`.

MMEngine asks for the distribution `mmsegmentation`, which is called onedl-mmsegmentation where it
is maintained now.
"""

from mmengine.config.utils import MODULE2PACKAGE
from mmengine.utils import is_installed


def find_mmseg() -> None:
    """Let MMEngine look for mmseg by the name of its module, if it cannot find it otherwise."""
    if not is_installed(MODULE2PACKAGE["mmseg"]):
        MODULE2PACKAGE["mmseg"] = "mmseg"
