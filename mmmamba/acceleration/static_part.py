"""The part of a model whose shapes follow from those of the images: backbone, neck, dense heads.

A detector of mmdet and a segmentor of mmseg call `extract_feat` with images, then heads with what
came out. Both are intercepted here: the first does the work of both, and a head that is then called
with those very maps finds its outputs there.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from .memory import Order, order_of

Maps = Any
NOT_HEADS = ("backbone", "neck", "data_preprocessor")


class StaticPart:
    """A model's static part, taken over by something that runs it.

    Args:
        model: a detector or segmentor, or any module that is called with images alone.
        run: called instead of the static part, with images; returns maps, after `remember`.
    """

    def __init__(self, model: nn.Module, run: Callable[[Tensor], Maps]):
        self.model = model
        # Of a module that is nothing but its static part, the forward pass is taken over.
        self.whole = not callable(getattr(model, "extract_feat", None))
        self._own: Callable[..., Maps] = model.forward if self.whole else model.extract_feat
        self._heads = {} if self.whole else dict(_heads(model))
        self._own_heads = {name: head.forward for name, head in self._heads.items()}
        # In the order of their calls, in which they draw random numbers.
        self._asked: dict[bool, list[str]] = {True: [], False: []}
        self._maps: list[weakref.ref] = []
        self._outputs: dict[str, Any] = {}
        self._orders: dict[tuple[str, int], Order | None] = {}
        # On the instances, where they are found before the classes' own.
        setattr(model, "forward" if self.whole else "extract_feat", run)
        for name, head in self._heads.items():
            head.forward = partial(self._head, name)  # type: ignore[method-assign]

    def __getstate__(self) -> dict[str, Any]:
        # Maps are of a pass, not of the model.
        return self.__dict__ | dict(_maps=[], _outputs={})

    def give_back(self) -> None:
        """Let the model run its static part by itself again."""
        delattr(self.model, "forward" if self.whole else "extract_feat")
        for head in self._heads.values():
            head.__dict__.pop("forward", None)

    def extract(self, *args: Any, **kwargs: Any) -> Maps:
        """The maps, by the model's own way."""
        return self._own(*args, **kwargs)

    def asked(self, training: bool) -> list[str]:
        """Names of the heads that were called with the maps as they are, in that order."""
        return list(self._asked[training])

    def with_heads(self, names: Iterable[str], x: Tensor) -> tuple[Maps, dict[str, Any]]:
        """The maps and what these heads make of them, by the model's own way."""
        maps = self._own(x)
        return maps, {name: self._own_heads[name](maps) for name in names}

    def remember(self, maps: Maps, outputs: dict[str, Any] | None = None) -> None:
        """Hand a head its outputs when it is called with these maps."""
        # Weakly: maps that the model has done with are not held until the next ones.
        self._maps = [weakref.ref(x) for x in _listed(maps)]
        self._outputs = outputs or {}

    def head(self, name: str) -> nn.Module:
        """A head by the name that `asked` gives it."""
        return self._heads[name]

    def roots(self, heads: Iterable[str]) -> list[nn.Module]:
        """Modules that the static part consists of with these heads, as far as is known."""
        if self.whole:
            return [self.model]
        left_out = self._heads.keys() - set(heads)
        others = {id(self._heads[name]) for name in left_out}
        found: list[nn.Module] = []
        for name, child in self.model.named_children():
            if isinstance(child, nn.ModuleList):
                found += [part for part in child if id(part) not in others]
            # What is called a head and takes more than maps, such as regions, is called later.
            elif id(child) not in others and (name in self._heads or not name.endswith("head")):
                found.append(child)
        return found

    def run_around(self) -> list[nn.Module]:
        """Modules whose own hooks run although their inside is replayed."""
        return [self.model] if self.whole else list(self._heads.values())

    def _head(self, name: str, *args: Any, **kwargs: Any) -> Any:
        own = self._own_heads[name]
        if kwargs or len(args) != 1 or not self._knows(args[0]):
            return own(*args, **kwargs)
        asked = self._asked[self.model.training]
        if name not in asked:
            asked.append(name)
        # Once: whoever asks again gets outputs of its own.
        if name in self._outputs:
            return self._outputs.pop(name)
        found = own(args[0])
        self._see_gradients(name, found)
        return found

    def _see_gradients(self, name: str, outputs: Any) -> None:
        """Note how the gradients of a head's outputs lie in memory."""
        for number, x in enumerate(tree_leaves(outputs)):
            key = (name, number)
            if isinstance(x, Tensor) and x.requires_grad and key not in self._orders:
                x.register_hook(partial(self._note, key))

    def _note(self, key: tuple[str, int], gradient: Tensor) -> None:
        self._orders[key] = order_of(gradient)

    def orders(self, outputs: tuple[Maps, dict[str, Any]]) -> list[Order | None]:
        """How the gradients of all tensors lie in memory, as far as is known.

        Gradients of maps are sums of several.
        """
        maps, of_heads = outputs
        found: list[Order | None] = [None for x in tree_leaves(maps) if isinstance(x, Tensor)]
        for name, output in of_heads.items():
            for number, x in enumerate(tree_leaves(output)):
                if isinstance(x, Tensor):
                    found.append(self._orders.get((name, number)))
        return found

    def _knows(self, maps: Maps) -> bool:
        listed = _listed(maps)
        return len(listed) == len(self._maps) > 0 and all(
            known() is x for known, x in zip(self._maps, listed)
        )


def _listed(maps: Maps) -> list[Tensor]:
    found = list(maps) if isinstance(maps, (list, tuple)) else [maps]
    return found if all(isinstance(x, Tensor) for x in found) else []


def _heads(model: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """Children of a model that can be called with maps alone, with the members of lists."""
    for name, child in model.named_children():
        if name in NOT_HEADS:
            continue
        if isinstance(child, nn.ModuleList):
            for number, part in enumerate(child):
                if _takes_one(part):
                    yield f"{name}.{number}", part
        elif _takes_one(child):
            yield name, child


def _takes_one(module: nn.Module) -> bool:
    parameters = inspect.signature(module.forward).parameters.values()
    required = [
        p
        for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return len(required) == 1
