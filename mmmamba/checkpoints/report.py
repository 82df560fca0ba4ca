"""What became of a checkpoint's tensors, in words."""

from dataclasses import dataclass, field
from itertools import islice

from ..printable import SHOWN, printable, printable_names
from .unwrap import RAW, Unwrapped


@dataclass
class Report:
    """What became of each tensor of a checkpoint and of each of the module. Names are ours."""

    source: str
    family: str
    matched: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    """Those of `matched` that were resized to the module's image size or channels."""
    missing: list[str] = field(default_factory=list)
    """In the module, not in the file."""
    unexpected: list[str] = field(default_factory=list)
    """In the file, not in the module."""
    of_no_use: list[str] = field(default_factory=list)
    """Those of `unexpected` that a backbone leaves out, such as a classifier's own weights."""
    mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    """Those with another shape: (the file's, the module's)."""
    unfit: dict[str, str] = field(default_factory=dict)
    """What is wrong with those whose kind or values the module cannot hold."""
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.family} weights from {self.source}: {len(self.matched)} tensors matched"]
        if self.resized:
            lines.append(f"  resized     {printable_names(self.resized)}")
        if self.missing:
            lines.append(f"  missing     {printable_names(self.missing)}")
        if self.of_no_use:
            lines.append(f"  left out    {printable_names(self.of_no_use)}")
        if rest := [name for name in self.unexpected if name not in self.of_no_use]:
            lines.append(f"  unexpected  {printable_names(rest)}")
        if self.mismatched:
            shapes = [
                f"{printable(name)} {theirs} in the file, {ours} here"
                for name, (theirs, ours) in islice(self.mismatched.items(), SHOWN)
            ]
            more = f" … ({len(self.mismatched):,} in all)" if len(self.mismatched) > SHOWN else ""
            lines.append(f"  mismatched  {', '.join(shapes)}{more}")
        return "\n".join(lines + [f"  {note}" for note in self.notes])


def notes_of(found: Unwrapped) -> list[str]:
    """Where in a file its weights stood, and which others it has."""
    where = f"read from '{printable(found.under)}'" if found.under else ""
    prefix = f"prefix '{printable(found.prefix)}' taken off" if found.prefix else ""
    others = (
        f"the file also holds {printable_names(found.others)} (key= chooses)"
        if found.others
        else ""
    )
    if found.averaged:
        others = f"the averages of the run's EMAHook; its last weights are under key='{RAW}'"
    note = "; ".join(part for part in (where, prefix, others) if part)
    return [note] if note else []
