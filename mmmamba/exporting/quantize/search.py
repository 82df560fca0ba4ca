"""From an ONNX file to one with products in int8, as many as a limit of the error allows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UsageError
from .comparing import BOXES, differences
from .products import Product, probes_of, products_of
from .ranges import Arrays, Range, Seen
from .report import Left, QuantizeReport
from .rewriting import write_int8
from .sessions import runner
from .storing import compact, store_weights

if TYPE_CHECKING:
    import onnx_ir as ir

LIMIT = 0.065
"""Root mean square error that is aimed at, as a share of the spread."""
LIMIT_OF_BOXES = 0.2
"""The difference that boxes may have."""
FEWEST = 8
"""Images whose ranges say something about others."""
COMPARED = 8
"""Batches that a file's error is measured on."""
TRIED = 2
"""Those of them that models are compared on in between."""
KEPT = 0.5
"""Share of the products that at least are in int8: with fewer it saves no time."""
GROUPS = 24
"""Neighbouring products are tried together, in so many groups."""


@dataclass(frozen=True)
class Group:
    """Neighbours, and the error with only them in int8."""

    products: tuple[Product, ...]
    error: float


@dataclass(frozen=True)
class Trial:
    """How many groups stay in float32, those first that cost most, and what came of it."""

    left: int
    kind: str
    """The ranges that it has."""
    errors: Mapping[str, float]

    @property
    def error(self) -> float:
        return max(self.errors.values(), default=0.0)


def quantize(
    path: Path, batches: Sequence[Arrays], out: Path, limit: float | None = None
) -> QuantizeReport:
    """Write a file with products in int8; all else, the scans too, stays in float32.

    Products are left out, those first that int8 costs most, until what the model gives is within
    the limit. Their weights are stored in 8 bits all the same.

    Args:
        batches: inputs of the file, of prepared images; read several times.
        limit: by default `LIMIT_OF_BOXES` for detectors that end in boxes, else `LIMIT`.

    Raises:
        UsageError: too few images, or a model without products.
    """
    from ..onnx.saving import save

    images = sum(len(batch["images"]) for batch in batches)
    if images < FEWEST:
        raise UsageError(
            f"int8 learns ranges of numbers from images, and there are {images}: wanted {FEWEST} "
            "at least, better some hundred"
        )
    with tempfile.TemporaryDirectory() as folder:
        search = _Search(path, batches, Path(folder))
        if limit is None:
            limit = LIMIT_OF_BOXES if search.finds_boxes else LIMIT
        best = search.best(limit)
        model = search.written(search.chosen(best.left), best.kind)
        compact(model)
        save(model, out)
    left = [
        Left(product.name, product.kind, group.error)
        for group in search.left(best.left)
        for product in group.products
    ]
    return QuantizeReport(
        images=images,
        limit=limit,
        ranges=best.kind,
        products=len(search.products),
        left=tuple(left),
        errors=dict(best.errors),
        size=(path.stat().st_size, out.stat().st_size),
    )


class _Search:
    """What is known of a model and its products."""

    def __init__(self, path: Path, batches: Sequence[Arrays], folder: Path) -> None:
        import onnx_ir as ir

        self.folder = folder
        self.model = ir.load(path)
        self.products = products_of(self.model)
        if not self.products:
            raise UsageError(f"{path} has no convolution or product of matrices for int8")
        outputs = {str(value.name) for value in self.model.graph.outputs}
        self.finds_boxes = set(BOXES) <= outputs
        self.last = probes_of(self.model, self.products)
        """Values whose numbers say what a product costs."""
        self.given = list(BOXES) if self.finds_boxes else self.last
        """Those that the limit is for."""
        # Spread over all of them: neighbours may be alike.
        step = max(1, len(batches) // COMPARED)
        places = list(range(0, len(batches), step))[:COMPARED]
        self.compared = [batches[place] for place in places]
        self._look(batches, places)

    def _look(self, batches: Sequence[Arrays], places: Sequence[int]) -> None:
        """Learn ranges from all batches, and what some of them give in float32."""
        names = {product.input for product in self.products}
        names.update(one.output for one in self.products if one.output_in_int8)
        probes = {*self.last, *self.given}
        inside = runner(self.model.clone(), sorted(names | probes), self.folder)
        seen = {name: Seen() for name in names}
        dice = np.random.default_rng(0)
        self.exact: list[Arrays] = []
        for place, batch in enumerate(batches):
            values = inside(batch)
            for name, one in seen.items():
                one.add(values[name], dice)
            if place in places:
                self.exact.append({name: values[name] for name in probes})
        self.ranges: dict[str, dict[str, Range]] = dict(
            closest={name: one.closest() for name, one in seen.items()},
            widest={name: one.widest() for name, one in seen.items()},
        )

    def best(self, limit: float) -> Trial:
        """The trial with the most products within the limit, else the one with the least error.

        It is compared on all batches.
        """
        first = self.trial(0, "closest", TRIED)
        if first.error > limit:
            first = min(first, self.trial(0, "widest", TRIED), key=lambda one: one.error)
        if first.error <= limit:
            first = self.trial(0, first.kind, COMPARED)
        if first.error <= limit:
            return first
        bad, good = 0, int(len(self.groups) * (1 - KEPT))
        while good - bad > 1:
            middle = self.trial((good + bad) // 2, first.kind, TRIED)
            bad, good = (bad, middle.left) if middle.error <= limit else (middle.left, good)
        found = self.trial(good, first.kind, COMPARED)
        most = int(len(self.groups) * (1 - KEPT))
        # What two batches hold within the limit, all of them may not.
        while found.error > limit and found.left < most:
            found = self.trial(found.left + 1, first.kind, COMPARED)
        if found.error > limit:
            nothing = self.trial(0, first.kind, COMPARED)
            return min(found, nothing, key=lambda one: one.error)
        return found

    @cached_property
    def groups(self) -> list[Group]:
        """All products, those first that cost most."""
        number = min(GROUPS, len(self.products))
        bounds = np.linspace(0, len(self.products), number + 1).astype(int)
        groups = []
        for start, end in pairwise(bounds):
            some = self.products[start:end]
            errors = self.errors(self.written(some, "closest"), self.last, 1)
            groups.append(Group(tuple(some), max(errors.values(), default=0.0)))
        return sorted(groups, key=lambda one: -one.error)

    def left(self, number: int) -> list[Group]:
        """Those that cost most; nothing is tried for none of them."""
        return self.groups[:number] if number else []

    def chosen(self, left: int) -> list[Product]:
        """The products in int8 if so many groups are left out."""
        out = {product.name for group in self.left(left) for product in group.products}
        return [product for product in self.products if product.name not in out]

    def trial(self, left: int, kind: str, batches: int) -> Trial:
        model = self.written(self.chosen(left), kind)
        return Trial(left, kind, self.errors(model, self.given, batches))

    def errors(self, model: ir.Model, names: Sequence[str], batches: int) -> dict[str, float]:
        """How far some values are from float32; changes the model's outputs."""
        run = runner(model, names, self.folder)
        found = [_picked(run(batch), names) for batch in self.compared[:batches]]
        return differences([_picked(one, names) for one in self.exact[:batches]], found)

    def written(self, chosen: Iterable[Product], kind: str) -> ir.Model:
        model = self.model.clone()
        write_int8(model, list(chosen), self.ranges[kind])
        store_weights(model)
        return model


def _picked(values: Arrays, names: Sequence[str]) -> dict[str, np.ndarray]:
    return {name: values[name] for name in names}
