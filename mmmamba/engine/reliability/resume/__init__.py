"""Going on from a checkpoint as if nothing had happened: the same batches, augmentations and random
numbers. Importing it registers the loops."""

from . import loops  # noqa: F401
