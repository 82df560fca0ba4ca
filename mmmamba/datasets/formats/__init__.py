"""Label files that are not COCO's, and how they become COCO files.

That is YOLO text, Pascal VOC and labelme: one file a format, and one writer.
"""

from .convert import Converted, convert
from .find import find_source
from .source import Source

__all__ = ["Converted", "Source", "convert", "find_source"]
