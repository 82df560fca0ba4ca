"""A family's choices as data: a frozen dataclass, its named variants, and what a caller changes."""

import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from mmmamba.suggest import did_you_mean

Choice = TypeVar("Choice")


@dataclass(frozen=True, kw_only=True)
class BaseArch:
    """Base of the dataclasses of the families. Each field is an argument of the constructor too.

    Args:
        drop_path_rate: of the last block, rising from 0 at the first.
    """

    drop_path_rate: float = 0.0

    def pick(self, *names: str) -> dict[str, Any]:
        """Some of the fields, as keyword arguments for what they are handed on to."""
        return {name: getattr(self, name) for name in names}


def one_of(argument: str, value: str, known: Iterable[str]) -> str:
    """The value, if it is a known one.

    Raises:
        ValueError: it is not.
    """
    known = list(known)
    if value not in known:
        raise ValueError(
            f"{argument} is {value!r}, wanted one of {', '.join(map(repr, known))}."
            + did_you_mean(str(value), known)
        )
    return value


def named(argument: str, value: str, known: Mapping[str, Choice]) -> Choice:
    """What a table has under the name that an argument gives.

    Raises:
        ValueError: nothing.
    """
    return known[one_of(argument, value, known)]


def field_names(kind: type[BaseArch]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def choose(
    family: str,
    kind: type[BaseArch],
    variants: Mapping[str, BaseArch],
    arch: str | Mapping[str, Any] | BaseArch | None,
    changes: Mapping[str, Any],
) -> BaseArch:
    """The variant with what the caller changes.

    Args:
        family: its name, for messages.
        kind: its dataclass.
        variants: what it has by name.
        arch: a name, fields of `kind` as a dict, or a whole `kind`; the first variant if None.
        changes: fields in place of those; None leaves one as it is.

    Raises:
        TypeError: the dataclass of another family.
        ValueError: an unknown variant or field, or a field without a value.
    """
    # Constructors have every field as an argument, None where the caller said nothing.
    changes = {name: value for name, value in changes.items() if value is not None}
    if arch is None and variants:
        arch = next(iter(variants))
    if isinstance(arch, str):
        if arch not in variants:
            raise ValueError(
                f"{family} has no arch '{arch}'; it has {', '.join(variants)}, or takes a dict."
                + did_you_mean(arch, list(variants))
            )
        arch = variants[arch]
    if isinstance(arch, BaseArch):
        if not isinstance(arch, kind):
            raise TypeError(
                f"arch of {family} is a {type(arch).__name__}, wanted a name, a dict or a "
                f"{kind.__name__}"
            )
        return dataclasses.replace(arch, **changes)
    return _from_fields(family, kind, dict(arch or {}), changes)


def _from_fields(
    family: str, kind: type[BaseArch], given: dict[str, Any], changes: dict[str, Any]
) -> BaseArch:
    # Checked here and not by the dataclass, whose TypeError would neither name the family nor what
    # the wrong key was probably meant to be.
    names = field_names(kind)
    for name in given:
        if name not in names:
            raise ValueError(
                f"arch of {family} has no key '{name}'.{did_you_mean(name, names)} "
                f"It takes {', '.join(names)}."
            )
    # A dict names fields freely and may leave some to the arguments beside it, so what is lacking
    # shows only now.
    values = given | changes
    lacking = [
        field.name
        for field in dataclasses.fields(kind)
        if field.name not in values and _has_no_default(field)
    ]
    if lacking:
        raise ValueError(f"arch of {family} lacks {', '.join(lacking)}")
    return kind(**values)


def _has_no_default(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def with_fields(
    common: inspect.Signature, kind: type[BaseArch], variants: Mapping[str, BaseArch]
) -> inspect.Signature:
    """A constructor's signature with the fields in place of its `**` argument.

    Args:
        common: has an argument `arch`, whose default becomes the first of the variants.
    """
    parameters = [p for p in common.parameters.values() if p.kind is not p.VAR_KEYWORD]
    # None and not the field's own default, which is that of no variant: see `choose`.
    parameters += [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=field.type
        )
        for field in dataclasses.fields(kind)
    ]
    first = next(iter(variants), None)
    parameters = [p.replace(default=first) if p.name == "arch" else p for p in parameters]
    return common.replace(parameters=parameters)
