"""What a folder of the user's own data holds, in the layouts that tools export.

That is labelled objects, in COCO files or in files that are made into those, label maps, or folders
of classes.
"""

from ..layout import Part
from .class_folders import ClassData, find_classes, holds_classes
from .class_place import CheckedClasses, check_class_place
from .coco import CocoData, find_coco
from .label_maps import LabelData, find_label_maps
from .objects import data_folder, find_objects, holds_objects, write_coco
from .place import CheckedPlace, check_place
from .second_images import SecondImages, find_second_images

__all__ = [
    "CheckedClasses",
    "CheckedPlace",
    "ClassData",
    "CocoData",
    "LabelData",
    "Part",
    "SecondImages",
    "check_class_place",
    "check_place",
    "data_folder",
    "find_classes",
    "find_coco",
    "find_label_maps",
    "find_objects",
    "find_second_images",
    "holds_classes",
    "holds_objects",
    "write_coco",
]
