"""What is never held in half precision."""

from mmmamba.ops.autocast import full_precision

__all__ = ["full_precision"]
