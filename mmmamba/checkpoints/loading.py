"""Published weights into a backbone: matched by name and shape, all or none, with a report."""

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..printable import printable, printable_names
from .catalogue import published_at
from .errors import CheckpointError, UnfitError
from .key_map import KeyMap
from .key_maps import key_map_of, looks_like
from .reading import read_checkpoint
from .report import Report, notes_of
from .run_folder import weights_of_run
from .stems import fit_stem, is_stem, told
from .storing import misfit, store
from .unwrap import Unwrapped, unwrap

logger = logging.getLogger("mmmamba")

# BatchNorm's count of batches: no weight, and absent from some files.
COUNTERS = r"(.*\.)?num_batches_tracked"
ALLOW = (
    "If a difference is meant, allow it by name: allow_missing=[...], allow_unexpected=[...] or "
    "allow_mismatched=[...] (regular expressions). If the file is damaged, download it again."
)


def load_weights(
    module: nn.Module,
    source: str | os.PathLike | Mapping,
    *,
    family: str | KeyMap | None = None,
    prefix: str | None = None,
    key: str | None = None,
    allow_missing: Sequence[str] = (),
    allow_unexpected: Sequence[str] = (),
    allow_mismatched: Sequence[str] = (),
    trust: bool = False,
    map_location: str | torch.device = "cpu",
) -> Report:
    """Load a backbone's weights from its authors' file, a detector's or segmentor's, or our own.

    Judged is what will be stored: the tensors in the module's types, which must be floating point
    where those are.

    Args:
        source: a path, a URL, the folder of a run (its best checkpoint, else its newest), or what
            such a file holds.
        family: the key map to use, by name or itself; if None that of the module's class, which
            may have none: then the file must have the module's own layout.
        prefix: only names that start so (`backbone.`), which is taken off; found by itself if None.
        key: the key of the file that the weights stand under (`model_ema`); the family's
            preference if None.
        allow_missing: patterns of our names that the file may lack, beside what the family's files
            lack.
        allow_unexpected: patterns of names that the file may have and the module not, beside the
            family's.
        allow_mismatched: patterns of our names that may be of another shape in the file; such are
            not loaded.
        trust: unpickle a file that the safe reader refuses. This **runs code that the file holds**.
        map_location: where the file's tensors are read to.

    Raises:
        CheckpointError: the file cannot be had or read, or is no clean match. Then nothing was
            loaded.
    """
    family_name, key_map = key_map_of(module, family)
    if isinstance(source, Mapping):
        label, checkpoint = "a state dict", source
    else:
        if os.path.isdir(os.path.expanduser(source)):
            source = weights_of_run(source)
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
    matched, report = fit(
        module,
        target,
        found,
        key_map,
        label,
        family_name,
        allow_missing,
        allow_unexpected,
        allow_mismatched,
    )
    # Not strict: `fit` has judged every name, and what may be missing stays as it is.
    module.load_state_dict(matched, strict=False)
    logger.info("%s", report)
    return report


def fit(
    module: nn.Module,
    target: Mapping[str, Tensor],
    found: Unwrapped,
    key_map: KeyMap,
    label: str,
    family_name: str,
    allow_missing: Sequence[str] = (),
    allow_unexpected: Sequence[str] = (),
    allow_mismatched: Sequence[str] = (),
) -> tuple[dict[str, Tensor], Report]:
    """What a checkpoint has for each tensor of `target`, all or a part of the module's state dict.

    Raises:
        UnfitError: it is no clean match.
    """
    # Compared with meta tensors everything would fit, and nothing would be loaded.
    if any(tensor.is_meta for tensor in target.values()):
        raise CheckpointError(
            f"{family_name} is on the meta device, which holds no values. "
            "Call its to_empty() first."
        )
    theirs = translate(found.state, key_map, label, family_name)
    report = Report(label, family_name, notes=notes_of(found))
    matched = _match(theirs, target, module, key_map, report)
    # A network whose last map lies early lacks what whole files have behind it.
    not_built = getattr(module, "not_built", ())
    allowed = _Allowed(
        missing=[COUNTERS, *allow_missing, *_lacking_as_usual(found, theirs, key_map)],
        unexpected=[*key_map.may_be_surplus, *not_built, *allow_unexpected],
        mismatched=allow_mismatched,
    )
    if problems := _problems(report, target, allowed):
        raise UnfitError(
            f"{report.source} does not fit this {report.family}; nothing was loaded.\n"
            + "".join(f"  {problem}\n" for problem in problems.texts)
            + str(report),
            _cure(report, found, theirs, target, key_map),
            problems.names,
        )
    report.of_no_use = [n for n in report.unexpected if _any_matches(key_map.may_be_surplus, n)]
    return matched, report


class _Allowed(NamedTuple):
    """Patterns of the names that may differ, by the way in which they differ."""

    missing: Sequence[str]
    unexpected: Sequence[str]
    mismatched: Sequence[str]


class _Problems(NamedTuple):
    """What is no clean match: in words, a line each, and the names that it is about."""

    texts: list[str]
    names: list[str]


def translate(
    state: Mapping[str, Tensor], key_map: KeyMap, label: str, family: str
) -> dict[str, Tensor]:
    """The state dict in our layout: under our names, then converted.

    Raises:
        CheckpointError: two tensors get one name, or the conversion does not find what it needs.
    """
    renamed = rename(state, key_map, label)
    if key_map.convert is None:
        return renamed
    try:
        return key_map.convert(renamed)
    # What indexing, stacking and reshaping raise on tensors that are absent or of another shape.
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{label} cannot be converted to the layout of {family} "
            f"({type(error).__name__}: {printable(error, 300)}). It is of another variant or "
            "family, or damaged."
        ) from error


def rename(
    state: Mapping[str, Tensor], key_map: KeyMap, label: str = "the checkpoint"
) -> dict[str, Tensor]:
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
            one, two = printable(origin[ours]), printable(name)
            raise CheckpointError(
                f"{label}: '{one}' and '{two}' both become '{printable(ours)}'. "
                "The file mixes two layouts."
            )
        renamed[ours], origin[ours] = tensor, name
    return renamed


def _match(
    theirs: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    module: nn.Module,
    key_map: KeyMap,
    report: Report,
) -> dict[str, Tensor]:
    matched = {}
    for name, tensor in theirs.items():
        if name not in target:
            report.unexpected.append(name)
            continue
        wanted = target[name]
        # From what never fits to what may be made to fit: kind, axes of length 1, channels, image
        # size.
        if reason := misfit(tensor, wanted):
            report.unfit[name] = f"are {reason}"
            continue
        if tensor.shape != wanted.shape and _any_matches(key_map.squeeze, name):
            tensor = _same_but_for_ones(tensor, wanted)
        if is_stem(tensor, wanted, module):
            channels = wanted.shape[1]
            report.notes.append(told(channels))
            if (fitted := fit_stem(tensor, channels)) is not None:
                tensor = fitted
                report.resized.append(name)
        if tensor.shape != wanted.shape:
            resizers = [r for pattern, r in key_map.resize if re.fullmatch(pattern, name)]
            if resizers:
                try:
                    tensor = resizers[0](tensor, wanted, module)
                except CheckpointError as error:
                    raise CheckpointError(f"{report.source}: '{name}': {error}") from error
                report.resized.append(name)
        if tensor.shape != wanted.shape:
            report.mismatched[name] = (tuple(tensor.shape), tuple(wanted.shape))
        else:
            # Judged once converted: what is finite in float32 may be infinite in half.
            matched[name], flaw = store(tensor, wanted)
            report.matched.append(name)
            if flaw:
                report.unfit[name] = f"hold {flaw}"
    # Those that fit neither in shape nor in kind are in the file: they are not missing.
    report.missing.extend(name for name in target if name not in theirs)
    return matched


def _same_but_for_ones(tensor: Tensor, wanted: Tensor) -> Tensor:
    # A linear layer's (out, in) and a 1x1 convolution's (out, in, 1, 1) hold the same numbers.
    axes = min(tensor.dim(), wanted.dim())
    rest = (*tensor.shape[axes:], *wanted.shape[axes:])
    if tensor.shape[:axes] == wanted.shape[:axes] and all(length == 1 for length in rest):
        return tensor.reshape(wanted.shape)
    return tensor


def _lacking_as_usual(found: Unwrapped, theirs: Mapping[str, Tensor], key_map: KeyMap) -> list[str]:
    """Patterns of the names that this file may lack because its family's classifiers do.

    A file has all that a pattern names or nothing of it: norms that are left at the identity would
    give a trained detector wrong results.
    """
    # Its backbone was trained with its norms: none of them may be absent.
    if found.detector:
        return []
    return [pattern for pattern in key_map.may_be_missing if not _matches_any(pattern, theirs)]


def _problems(report: Report, target: Mapping[str, Tensor], allowed: _Allowed) -> _Problems | None:
    """What differs and is not allowed to; None if that is nothing."""
    missing = [name for name in report.missing if not _any_matches(allowed.missing, name)]
    unexpected = [name for name in report.unexpected if not _any_matches(allowed.unexpected, name)]
    mismatched = [name for name in report.mismatched if not _any_matches(allowed.mismatched, name)]
    texts = []
    if missing:
        texts.append(
            f"{len(missing)} of {len(target)} tensors are not in the file: "
            + printable_names(missing)
        )
    if unexpected:
        texts.append(
            f"{len(unexpected)} tensors of the file have no place: {printable_names(unexpected)}"
        )
    if mismatched:
        texts.append(f"{len(mismatched)} tensors have another shape")
    for reason in dict.fromkeys(report.unfit.values()):
        names = [name for name, its in report.unfit.items() if its == reason]
        texts.append(f"{len(names)} tensors {reason}: {printable_names(names)}")
    return _Problems(texts, [*missing, *unexpected, *mismatched]) if texts else None


def _cure(
    report: Report,
    found: Unwrapped,
    theirs: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    key_map: KeyMap,
) -> str:
    # First whose file it is, then which variant, and only then what the user may allow.
    family = looks_like(list(found.state))
    # A detector's backbone is marked as the detector.
    ours = report.family.removesuffix("Backbone")
    # A file without our mark is foreign; where we have none, little has to match.
    told_by_mark = family is not None and key_map.mark != ""
    if family not in (ours, *key_map.starts_from) and (
        told_by_mark or len(report.matched) * 2 < len(target)
    ):
        seen = f"looks like one of {family}" if family else "is of no family known here"
        return (
            f"The file {seen}, not of {report.family}: use that backbone, or the right file "
            "(mmmamba.checkpoints.list_published() names them)."
        )
    if key_map.fingerprint:
        file_is = key_map.fingerprint.describe(theirs)
        module_is = key_map.fingerprint.describe(target)
        if file_is and module_is and file_is != module_is:
            return (
                f"The file is a {file_is}; this module is a {module_is}. "
                "Use that variant, or this one's file."
            )
    return ALLOW


def _matches_any(pattern: str, names: Iterable[str]) -> bool:
    return any(re.fullmatch(pattern, name) for name in names)


def _any_matches(patterns: Iterable[str], name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)
