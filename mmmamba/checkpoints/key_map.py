"""A key map: how the files of one family become a state dict of our module.

It also says what tells the family's files from others', and its variants apart.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

Resize = Callable[[Tensor, Tensor, nn.Module], Tensor]
"""(table of the file, tensor of the module, module) -> the table at the module's shape."""
Convert = Callable[[dict[str, Tensor]], dict[str, Tensor]]
"""A state dict under our names -> the state dict of our module."""

OUTPUT_NORMS = r"outnorm\d+\.(weight|bias)"
"""Pattern of a pyramid's output norms, which authors name as we do and classifiers lack."""


@dataclass(frozen=True)
class Fingerprint:
    """What tells a family's variants apart: blocks per stage and the first axis of some tensors."""

    block: str
    """Pattern of a tensor that every block has once.

    Its groups are the numbers of stage and block, in a plain column that of the block alone.
    """
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
        if not stages:
            return None
        # Sorted as numbers: stage 10 comes after stage 9, in whatever order the file has them.
        numbers = [len(stages[stage]) for stage in sorted(stages)]
        for pattern in self.widths:
            first = next((t for name, t in state.items() if re.fullmatch(pattern, name)), None)
            if first is None:
                return None
            numbers.append(first.shape[0])
        return tuple(numbers)

    def describe(self, state: Mapping[str, Tensor]) -> str | None:
        """Words such as "vmamba_t (blocks 2, 2, 8, 2; widths 96, 96)".

        None if the tensors are not there.
        """
        numbers = self.of(state)
        if numbers is None:
            return None
        # Blocks first, then one number for each pattern: `of` puts them so.
        depths, widths = numbers[: -len(self.widths)], numbers[-len(self.widths) :]
        name = self.variants.get(numbers, "no published variant")
        blocks = ", ".join(map(str, depths))
        return f"{name} (blocks {blocks}; widths {', '.join(map(str, widths))})"


@dataclass(frozen=True)
class KeyMap:
    """How one family's files become a state dict of our module.

    Patterns are regular expressions. Those of `squeeze`, `resize`, `may_be_missing` and
    `may_be_surplus` must match a whole name of ours.
    """

    under: tuple[str, ...] = ("model", "state_dict")
    """Keys that the weights may stand under, the preferred first.

    A bare state dict is always taken.
    """
    prefixes: tuple[str, ...] = ("module.", "model.", "_orig_mod.")
    """Prefixes taken off when every name has them, as often as they are found."""
    whole: bool = False
    """Whether `backbone.` and what stands beside it belong to the module, a whole detector."""
    beside: tuple[str, ...] = ()
    """What stands beside `backbone.` in a classifier's file and is the classifier's, as `head.`."""
    renames: tuple[tuple[str, str | Callable[[re.Match], str]], ...] = ()
    """(pattern, replacement) as `re.sub` takes them, applied in order to each name."""
    convert: Convert | None = None
    """What makes the module's tensors of the renamed ones, such as one stack of several.

    Files that were saved here pass through it too: it must leave the module's own layout as it is.
    """
    squeeze: tuple[str, ...] = ()
    """Names of weights that may have trailing axes of length 1 on one side only."""
    resize: tuple[tuple[str, Resize], ...] = ()
    """(pattern, resizer) of tensors that depend on the image size, such as position embeddings."""
    may_be_missing: tuple[str, ...] = ()
    """Our names that a classifier's file lacks; in a detector's file they must be present."""
    may_be_surplus: tuple[str, ...] = ()
    """Names in their files that a backbone has no use for."""
    fingerprint: Fingerprint | None = None
    mark: str = ""
    """Pattern found in a name that every file of the family has: tells a user whose file it is."""
    mark_is_inherited: bool = False
    """Whether files of families that were made from this one bear its mark beside their own."""
    starts_from: tuple[str, ...] = ()
    """Families whose ImageNet files it takes for a part of itself, by way of `renames`."""
