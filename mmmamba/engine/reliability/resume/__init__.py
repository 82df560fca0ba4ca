"""Going on from a checkpoint as if nothing had happened.

A resumed run has the batches, augmentations and random numbers that it would have had. Importing
this registers the loops.
"""

from . import loops  # noqa: F401
