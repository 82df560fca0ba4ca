"""What files do, and the library whose results that is."""

MODELS_OF = {
    "detection": ("mmdet", "ExportedDetector"),
    "segmentation": ("mmseg", "ExportedSegmentor"),
}
"""The library, and the class of `export.opened` that makes its results of a file's outputs."""
