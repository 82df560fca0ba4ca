"""From an ONNX file to one with products in int8, as many as a limit of the error allows."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import UsageError
from .local import local_errors
from .products import Product, probes_of, products_of
from .ranges import Arrays, Range, collect
from .report import Left, QuantizeReport
from .rewriting import write_int8
from .sessions import runner

LIMIT = 0.065
"""Root mean square error as a share of the spread that is aimed at."""
FEWEST = 8
"""Images whose ranges say something about others."""
COMPARED = 6
"""Batches that models in int8 are compared on."""
LOOKED_AT = 2
"""Batches that products are looked at with, one by one."""
KEPT = 0.5
"""Share of the products that at least are in int8: with fewer it saves no time."""


@dataclass(frozen=True)
class Trial:
    """A choice of products in int8, and what came of it."""

    left: int
    errors: dict[str, float]

    @property
    def error(self) -> float:
        return max(self.errors.values(), default=0.0)


def quantize(
    path: Path, batches: Sequence[Arrays], out: Path, limit: float = LIMIT
) -> QuantizeReport:
    """Write a file with products in int8; all else, the scans too, stays in float32.

    Products are left out, those first that int8 changes most, until what the model gives is within
    the limit.

    Args:
        batches: inputs of the file, of prepared images; read several times.

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
        best, kind = search.best(limit)
        model = search.written(best.left, search.ranges[kind])
        save(model, out)
    ranked = search.ranked
    left = [Left(one.name, one.kind, search.alone[one.name]) for one in ranked[: best.left]]
    return QuantizeReport(
        images=images,
        limit=limit,
        ranges=kind,
        products=len(ranked),
        left=tuple(left),
        errors=best.errors,
        size=(path.stat().st_size, out.stat().st_size),
    )


class _Search:
    """What is known of a model and its products."""

    def __init__(self, path: Path, batches: Sequence[Arrays], folder: Path) -> None:
        import onnx_ir as ir

        self.path = path
        self.folder = folder
        model = ir.load(path)
        products = products_of(model)
        if not products:
            raise UsageError(f"{path} has no convolution or product of matrices for int8")
        self.probes = probes_of(model, products)
        names = {product.input for product in products}
        names.update(product.output for product in products if product.output_in_int8)
        inside = runner(ir.load(path), sorted(names | set(self.probes)), folder)
        seen = collect(inside, sorted(names), batches)
        self.ranges: dict[str, dict[str, Range]] = dict(
            closest={name: one.closest() for name, one in seen.items()},
            widest={name: one.widest() for name, one in seen.items()},
        )
        # Spread over all of them: neighbours may be alike.
        step = max(1, len(batches) // COMPARED)
        self.compared = [batches[place] for place in range(0, len(batches), step)][:COMPARED]
        examples = [inside(batch) for batch in self.compared[:LOOKED_AT]]
        self.alone = local_errors(model, products, self.ranges["closest"], examples)
        self.exact = [_picked(inside(batch), self.probes) for batch in self.compared]
        self.ranked = sorted(products, key=lambda one: -self.alone[one.name])

    def best(self, limit: float) -> tuple[Trial, str]:
        """The trial with the most products within the limit, else the one with the least error."""
        firsts = {kind: self.trial(0, kind) for kind in self.ranges}
        kind = min(firsts, key=lambda one: firsts[one].error)
        trials = [firsts[kind]]
        most = int(len(self.ranked) * (1 - KEPT))
        left = 1
        while trials[-1].error > limit and trials[-1].left < most:
            trials.append(self.trial(min(left, most), kind))
            left *= 2
        if trials[-1].error > limit:
            return min(trials, key=lambda one: one.error), kind
        bad, good = (trials[-2].left if len(trials) > 1 else -1), trials[-1]
        while good.left - bad > 1:
            middle = self.trial((good.left + bad) // 2, kind)
            if middle.error <= limit:
                good = middle
            else:
                bad = middle.left
        return good, kind

    def trial(self, left: int, kind: str) -> Trial:
        """The error with so many products left in float32."""
        model = self.written(left, self.ranges[kind])
        run = runner(model, self.probes, self.folder)
        results = [_picked(run(batch), self.probes) for batch in self.compared]
        errors = {}
        for name in self.probes:
            pairs = [(exact[name], found[name]) for exact, found in zip(self.exact, results)]
            errors[name] = _share(pairs)
        return Trial(left, errors)

    def written(self, left: int, ranges: Mapping[str, Range]):
        import onnx_ir as ir

        model = ir.load(self.path)
        chosen: list[Product] = self.ranked[left:]
        write_int8(model, chosen, ranges)
        return model


def _picked(values: Arrays, names: Sequence[str]) -> dict[str, np.ndarray]:
    return {name: values[name] for name in names}


def _share(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Root mean square of the differences, as a share of the spread of what is exact."""
    exact = np.concatenate([one.reshape(-1) for one, _ in pairs]).astype(np.float64)
    found = np.concatenate([one.reshape(-1) for _, one in pairs])
    return float(np.sqrt(np.square(found - exact).mean()) / max(exact.std(), 1e-12))
