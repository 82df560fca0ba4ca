"""What a run leaves to look at in ``work_dir/pictures``: batches, predictions, curves, where the model errs."""

from .hook import PicturesHook, add_pictures

__all__ = ["PicturesHook", "add_pictures"]
