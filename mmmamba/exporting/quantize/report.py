"""What int8 has changed in a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Left:
    """A product that is computed in float32."""

    name: str
    kind: str
    error: float
    """The model's error with no products in int8 but it and its neighbours."""


@dataclass(frozen=True)
class QuantizeReport:
    """Which products are in int8, and how far its results are from float32's."""

    images: int
    limit: float
    ranges: str
    """`widest` or `closest`: whether outliers are kept or cut off, whichever came out better."""
    products: int
    left: tuple[Left, ...]
    errors: dict[str, float]
    """That of `boxes`, or each compared value's root mean square, as a share of its spread."""
    size: tuple[int, int]
    """Bytes of the file before and after."""

    @property
    def error(self) -> float:
        """The largest of them."""
        return max(self.errors.values(), default=0.0)

    def lines(self) -> list[str]:
        """For a reader."""
        before, after = self.size
        number = self.products - len(self.left)
        kept = "kept" if self.ranges == "widest" else "cut off"
        made = (
            f"int8: {number} of {self.products} products, ranges from {self.images} images with "
            f"outliers {kept}, {after / 2**20:.1f} MiB instead of {before / 2**20:.1f}"
        )
        what = "of the spread (root mean square)"
        if "boxes" in self.errors:
            what = "in the overlap of boxes, weighted by scores"
        lost = (
            f"int8 differs from float32 by {self.error:.1%} {what}, wanted {self.limit:.1%} at most"
        )
        lines = [made, lost]
        if self.left:
            lines.append("computed in float32, as the model's error with them alone is largest:")
            lines += [f"  {one.error:7.1%}  {one.kind:6s} {one.name}" for one in self.left]
        if self.error > self.limit:
            lines.append(
                "more than wanted, and no fewer products made it better: calibrate on images such "
                "as the model was trained on, or take --half"
            )
        return lines

    def to_json(self) -> dict[str, Any]:
        """For the metadata."""
        return dict(
            images=self.images,
            limit=self.limit,
            ranges=self.ranges,
            products=self.products,
            left=[one.name for one in self.left],
            errors=self.errors,
            size=list(self.size),
        )
