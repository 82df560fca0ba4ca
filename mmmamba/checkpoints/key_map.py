"""What a key map is: how one family's files become a state dict of our backbone, and what tells its variants apart."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

Resize = Callable[[Tensor, Tensor, nn.Module], Tensor]
"""(table of the file, tensor of the module, module) -> the table at the module's shape."""


@dataclass(frozen=True)
class Fingerprint:
    """What tells a family's variants apart: blocks per stage, and the first axis of some tensors."""

    block: str
    """Pattern of a tensor that every block has once; its groups are stage and block, in a plain column block alone."""
    widths: tuple[str, ...]
    """Patterns, the first axis of whose first match is a number of the fingerprint."""
    variants: Mapping[tuple[int, ...], str]
    """Fingerprint -> names that `create_backbone` takes."""

    def of(self, state: Mapping[str, Tensor]) -> tuple[int, ...] | None:
        """The fingerprint of a state dict; None if it has no such tensors."""
        stages: dict[tuple[int, ...], set[int]] = {}
        for name in state:
            if found := re.fullmatch(self.block, name):
                *stage, block = map(int, found.groups())
                stages.setdefault(tuple(stage), set()).add(block)
        widths = [
            next((t.shape[0] for n, t in state.items() if re.fullmatch(p, n)), None)
            for p in self.widths
        ]
        if not stages or None in widths:
            return None
        return (*(len(stages[stage]) for stage in sorted(stages)), *widths)

    def describe(self, state: Mapping[str, Tensor]) -> str | None:
        """Such as "vmamba_t (blocks 2, 2, 8, 2; widths 96, 96)"; None if the tensors are not there."""
        numbers = self.of(state)
        if numbers is None:
            return None
        depths, widths = numbers[: -len(self.widths)], numbers[-len(self.widths) :]
        name = self.variants.get(numbers, "no published variant")
        return (
            f"{name} (blocks {', '.join(map(str, depths))}; widths {', '.join(map(str, widths))})"
        )


@dataclass(frozen=True)
class KeyMap:
    """How one family's files become a state dict of our backbone."""

    under: tuple[str, ...] = ("model", "state_dict")
    """Keys that the weights may stand under, the preferred first; a bare state dict is always taken."""
    prefixes: tuple[str, ...] = ("module.", "model.", "_orig_mod.")
    """Prefixes taken off when every name has them, as often as they are found."""
    whole: bool = False
    """The module is a whole detector: `backbone.` and what stands beside it belong to it."""
    renames: tuple[tuple[str, str | Callable[[re.Match], str]], ...] = ()
    """(pattern, replacement) as `re.sub` takes them, applied in order to each name."""
    squeeze: tuple[str, ...] = ()
    """Names of weights that may come with trailing axes of length 1 and do without, or the other way round."""
    resize: tuple[tuple[str, Resize], ...] = ()
    """(pattern, resizer) of tensors that depend on the image size, such as position embeddings."""
    may_be_missing: tuple[str, ...] = ()
    """Ours that a classifier's file lacks; in a detector's file they must be present."""
    may_be_surplus: tuple[str, ...] = ()
    """Theirs that a backbone has no use for."""
    fingerprint: Fingerprint | None = None
