"""Large images as data sets of their tiles."""

from .dataset import TiledDataset

__all__ = ["TiledDataset"]
