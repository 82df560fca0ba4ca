"""Published weights into a backbone: matched by name and shape, all of them or none, with a report."""

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .errors import CheckpointError
from .key_map import KeyMap
from .key_maps import MARKS, key_map_of, looks_like
from .published import published_at
from .reading import read_checkpoint
from .unwrap import Unwrapped, unwrap

logger = logging.getLogger("mmmamba")

# BatchNorm's count of batches: no weight, and absent from some files.
COUNTERS = r"(.*\.)?num_batches_tracked"
SHOWN = 8


@dataclass
class Report:
    """What became of each tensor of a checkpoint and of each of the module. Names are ours."""

    source: str
    family: str
    matched: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    """Those of `matched` that were resized to the module's image size."""
    missing: list[str] = field(default_factory=list)
    """In the module, not in the file."""
    unexpected: list[str] = field(default_factory=list)
    """In the file, not in the module."""
    mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    """Of another shape: (the file's, the module's)."""
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.family} weights from {self.source}: {len(self.matched)} tensors matched"]
        if self.resized:
            lines.append(f"  resized     {_some(self.resized)}")
        if self.missing:
            lines.append(f"  missing     {_some(self.missing)}")
        if self.unexpected:
            lines.append(f"  unexpected  {_some(self.unexpected)}")
        if self.mismatched:
            shapes = (f"{name} {theirs} in the file, {ours} here" for name, (theirs, ours) in self.mismatched.items())
            lines.append(f"  mismatched  {_some(list(shapes))}")
        return "\n".join(lines + [f"  {note}" for note in self.notes])


def load_weights(
    module: nn.Module,
    source: str | os.PathLike | Mapping,
    *,
    family: str | KeyMap | None = None,
    prefix: str | None = None,
    key: str | None = None,
    allow_missing: Sequence[str] = (),
    allow_unexpected: Sequence[str] = (),
    trust: bool = False,
    map_location: str | torch.device = "cpu",
) -> Report:
    """Loads a backbone's weights from its authors' file, a detector's or segmentor's, or our own.

    Args:
        source: a path, a URL, or what such a file holds.
        family: the key map to use, by name or itself; that of the module's class if None.
        prefix: only names that start so (`backbone.`), which is taken off; found by itself if None.
        key: the key of the file that the weights stand under (`model_ema`); the family's preference if None.
        allow_missing: patterns of our names that the file may lack, beside what the family's files lack.
        allow_unexpected: patterns of names that the file may have and the module not, beside the family's.
        trust: unpickle a file that the safe reader refuses. This **runs code that the file holds**.
        map_location: where the file's tensors are read to.

    Raises:
        CheckpointError: the file cannot be had or read, or is no clean match. Then nothing was loaded.
    """
    family_name, key_map = key_map_of(module, family)
    if isinstance(source, Mapping):
        label, checkpoint = "a state dict", source
    else:
        label = os.fspath(source)
        entry = published_at(label)
        if key is None and entry is not None:
            key = entry.key
        checkpoint = read_checkpoint(source, trust=trust, map_location=map_location)
    try:
        found = unwrap(checkpoint, key_map, key=key, prefix=prefix)
    except CheckpointError as error:
        raise CheckpointError(f"{label}: {error}") from error
    target = module.state_dict()
    if any(tensor.is_meta for tensor in target.values()):
        raise CheckpointError(f"{family_name} is on the meta device, which holds no values. Call its to_empty() first.")
    theirs = rename(found.state, key_map, label)
    report = Report(label, family_name, notes=_notes(found))
    matched = _match(theirs, target, module, key_map, report)
    not_built = getattr(module, "not_built", ())
    _judge(report, found, theirs, target, key_map, allow_missing, [*not_built, *allow_unexpected])
    module.load_state_dict(matched, strict=False)
    logger.info("%s", report)
    return report


def rename(state: Mapping[str, Tensor], key_map: KeyMap, label: str = "the checkpoint") -> dict[str, Tensor]:
    """The state dict under our names.

    Raises:
        CheckpointError: two tensors get one name.
    """
    renamed: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for name, tensor in state.items():
        ours = name
        for pattern, replacement in key_map.renames:
            ours = re.sub(pattern, replacement, ours)
        if ours in renamed:
            raise CheckpointError(
                f"{label}: '{origin[ours]}' and '{name}' both become '{ours}'. The file mixes two layouts."
            )
        renamed[ours], origin[ours] = tensor, name
    return renamed


def _match(
    theirs: Mapping[str, Tensor], target: Mapping[str, Tensor], module: nn.Module, key_map: KeyMap, report: Report
) -> dict[str, Tensor]:
    matched = {}
    for name, tensor in theirs.items():
        if name not in target:
            report.unexpected.append(name)
            continue
        wanted = target[name]
        if tensor.shape != wanted.shape and _any_matches(key_map.squeeze, name):
            tensor = _same_but_for_ones(tensor, wanted)
        if tensor.shape != wanted.shape:
            resizer = next((r for pattern, r in key_map.resize if re.fullmatch(pattern, name)), None)
            if resizer is not None:
                try:
                    tensor = resizer(tensor, wanted, module)
                except CheckpointError as error:
                    raise CheckpointError(f"{report.source}: '{name}': {error}") from error
                report.resized.append(name)
        if tensor.shape != wanted.shape:
            report.mismatched[name] = (tuple(tensor.shape), tuple(wanted.shape))
        else:
            matched[name] = tensor
            report.matched.append(name)
    report.missing.extend(name for name in target if name not in theirs)
    return matched


def _same_but_for_ones(tensor: Tensor, wanted: Tensor) -> Tensor:
    axes = min(tensor.dim(), wanted.dim())
    rest = (*tensor.shape[axes:], *wanted.shape[axes:])
    if tensor.shape[:axes] == wanted.shape[:axes] and all(length == 1 for length in rest):
        return tensor.reshape(wanted.shape)
    return tensor


def _judge(
    report: Report,
    found: Unwrapped,
    theirs: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    key_map: KeyMap,
    allow_missing: Iterable[str],
    allow_unexpected: Iterable[str],
) -> None:
    """Raises CheckpointError unless all that differs is known to differ."""
    lacking = [COUNTERS, *allow_missing]
    # A file has all of its output norms or none: identity norms in a trained detector would give wrong results.
    if not found.detector:
        lacking += [p for p in key_map.may_be_missing if not any(re.fullmatch(p, name) for name in theirs)]
    missing = [name for name in report.missing if not _any_matches(lacking, name)]
    surplus = [*key_map.may_be_surplus, *allow_unexpected]
    unexpected = [name for name in report.unexpected if not _any_matches(surplus, name)]
    broken = [name for name in report.matched if theirs[name].is_floating_point() and not theirs[name].isfinite().all()]
    if not (missing or unexpected or report.mismatched or broken):
        return
    problems = []
    if missing:
        problems.append(f"{len(missing)} of {len(target)} tensors are not in the file: {_some(missing)}")
    if unexpected:
        problems.append(f"{len(unexpected)} tensors of the file have no place: {_some(unexpected)}")
    if report.mismatched:
        problems.append(f"{len(report.mismatched)} tensors have another shape")
    if broken:
        problems.append(f"{len(broken)} tensors hold NaN or infinity: {_some(broken)}")
    raise CheckpointError(
        f"{report.source} does not fit this {report.family}; nothing was loaded.\n"
        + "".join(f"  {problem}\n" for problem in problems)
        + f"{report}\n{_cure(report, found, theirs, target, key_map)}"
    )


def _cure(
    report: Report, found: Unwrapped, theirs: Mapping[str, Tensor], target: Mapping[str, Tensor], key_map: KeyMap
) -> str:
    family = looks_like(list(found.state))
    # A detector's backbone is marked as the detector.
    ours = report.family.removesuffix("Backbone")
    marked = any(ours == name for name, _ in MARKS)
    if family != ours and ((family and marked) or len(report.matched) * 2 < len(target)):
        seen = f"looks like one of {family}" if family else "is of no family known here"
        return (
            f"The file {seen}, not of {report.family}: use that backbone, or the right file "
            "(mmmamba.checkpoints.list_published() names them)."
        )
    if key_map.fingerprint:
        file_is, module_is = key_map.fingerprint.describe(theirs), key_map.fingerprint.describe(target)
        if file_is and module_is and file_is != module_is:
            return f"The file is a {file_is}; this module is a {module_is}. Use that variant, or this one's file."
    return (
        "If a difference is meant, allow it by name: allow_missing=[...] or allow_unexpected=[...] (regular "
        "expressions). If the file is damaged, download it again."
    )


def _notes(found: Unwrapped) -> list[str]:
    where = f"read from '{found.under}'" if found.under else ""
    prefix = f"prefix '{found.prefix}' taken off" if found.prefix else ""
    others = f"the file also holds {', '.join(found.others)} (key= chooses)" if found.others else ""
    note = "; ".join(part for part in (where, prefix, others) if part)
    return [note] if note else []


def _any_matches(patterns: Iterable[str], name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _some(names: Sequence[str]) -> str:
    more = f" … ({len(names)} in all)" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
