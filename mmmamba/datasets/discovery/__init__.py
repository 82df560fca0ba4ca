"""What a folder of the user's own data holds, in the layouts that tools export.

That is COCO files or label maps.
"""

from .coco import CocoData, annotation_files, find_coco
from .label_maps import LabelData, find_label_maps
from .layout import Part

__all__ = ["CocoData", "LabelData", "Part", "annotation_files", "find_coco", "find_label_maps"]
