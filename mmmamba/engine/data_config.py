"""Configs in JSON or YAML. They are data: neither reading nor running one executes anything that it says.

A `.py` config is a program. MMEngine's own reading of JSON and YAML is little better: a `_base_` may be a program,
`type` may be the path of any Python function (`os.system`), `custom_imports` imports any module, and `{{$NAME}}` puts
environment variables, such as passwords, wherever the file wants them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.fileio import load
from mmengine.hub import get_config
from mmengine.registry import registry
from mmengine.utils import import_modules_from_strings

from ..suggest import did_you_mean
from ..zoo.configs import configs_folder, find_config
from .errors import UsageError
from .safe_loading import refuse_unpickling

SUFFIXES = (".json", ".yaml", ".yml")
SCOPES = ("mmengine", "mmcv", "mmdet", "mmseg", "mmmamba")

IMPORT_KEYS = {"imports", "allow_failed_imports"}
NAMES = ("type", "constructor", "runner_type")
"""Keys whose value is looked up in a registry."""

RUNS_CODE = {
    "CameraMotionCompensation": "evaluates its warp_mode",
    "RFSearchHook": "evaluates the names of its operators",
    "LoadBiomedicalAnnotation": "may read pickles",
    "LoadBiomedicalImageFromFile": "may read pickles",
    "LoadBiomedicalData": "may read pickles",
    "OpenImagesDataset": "reads pickled arrays",
    "OpenImagesChallengeDataset": "reads pickled arrays",
    "TIMMBackbone": "downloads and unpickles",
    "BertModel": "downloads what it runs",
    "ATSSVLFusionHead": "downloads what it runs",
    "RandomSamplingNegPos": "downloads what it runs",
}
"""Registered classes that run or unpickle what an argument names, of the versions in requirements/tested.txt."""

WRITTEN_TO = (
    "work_dir",
    "save_dir",
    "out_dir",
    "outfile_prefix",
    "out_file_path",
    "output_dir",
    "tmpdir",
    "test_out_dir",
    "config_save_file",
    "scalar_save_file",
)


def read_data_config(path: Path, above: tuple[Path, ...] = ()) -> Config:
    """A config in JSON or YAML over its `_base_`: a config that comes with mmmamba, mmdet or mmseg, or more data.

    Raises:
        UsageError: it cannot be read, or holds what could run code, read the environment or write elsewhere.
    """
    if path.resolve() in above:
        raise UsageError(f"{path} is a _base_ of itself")
    data = _read(path)
    bases = data.pop("_base_", [])
    _check(data, path)
    # What `Registry.get` tries last, for any name it does not know, is to import it.
    registry.get_object_from_string = _nothing
    cfg = Config({}, filename=str(path))
    for base in bases if isinstance(bases, list) else [bases]:
        cfg.merge_from_dict(_read_base(base, path, (*above, path.resolve())).to_dict())
    cfg.merge_from_dict(data)
    if cfg.get("custom_imports"):
        import_modules_from_strings(**cfg.custom_imports)
    return cfg


def _read(path: Path) -> dict:
    refuse_unpickling()
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix != ".json" and re.search(r"(^|[\s\[{,:-])\*\w", text):
        raise UsageError(
            f"{path}: YAML's *aliases are not read (they could unfold to any size). Write it out"
        )
    try:
        data = load(path)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(
            f"{path} holds a {type(data).__name__}, wanted a mapping: {{'_base_': ..., 'model': ...}}"
        )
    return data


def _read_base(name: Any, path: Path, above: tuple[Path, ...]) -> Config:
    if not isinstance(name, str):
        raise UsageError(f"{path}: _base_ is {name!r}, wanted the name of a config")
    if name.endswith(SUFFIXES):
        return read_data_config(path.parent / name, above)
    package, _, inside = name.partition("::")
    if inside:
        if (
            package not in ("mmdet", "mmseg")
            or ".." in Path(inside).parts
            or Path(inside).is_absolute()
        ):
            raise UsageError(f"{path}: _base_ {name!r} is read from mmdet:: and mmseg:: only")
        return get_config(name)
    found = find_config(name).resolve()
    if configs_folder().resolve() not in found.parents:
        raise UsageError(
            f"{path}: its _base_ {found} is a Python program, which a config in {path.suffix} may not run. Name a "
            "config that comes with mmmamba (mmmamba list), or another .json or .yaml"
        )
    return Config.fromfile(found)


def _check(data: dict, path: Path) -> None:
    for place, key, value in _walk(data, ""):
        problem = None
        if key in NAMES:
            problem = _name_problem(value)
        elif key in ("_scope_", "default_scope") and value not in SCOPES:
            problem = f"is none of {', '.join(SCOPES)}."
        elif key == "custom_imports" and not (
            isinstance(value, dict) and value.keys() <= IMPORT_KEYS
        ):
            problem = f"is no mapping of {' and '.join(sorted(IMPORT_KEYS))}."
        elif key == "imports" and not (isinstance(value, list) and all(map(_is_ours, value))):
            problem = (
                "imports a program; mmmamba, mmdet, mmseg and parts of them may stand in the list."
            )
        elif (
            key in WRITTEN_TO
            and isinstance(value, str)
            and (Path(value).is_absolute() or ".." in Path(value).parts)
        ):
            problem = "writes outside of the current folder."
        elif key == "trust" and value:
            problem = "unpickles a checkpoint, which runs what is in it."
        elif isinstance(value, str) and "{{" in value:
            problem = "has {{…}}, which is not replaced in JSON and YAML."
        if problem:
            raise UsageError(
                f"{path}: {place}={value!r} {problem} A .py config may do so: it is a program"
            )


def _name_problem(value: Any) -> str | None:
    if not isinstance(value, str):
        return "is no name."
    scope, _, name = value.rpartition(".")
    if not name.isidentifier() or scope not in ("", *SCOPES):
        hint = did_you_mean(scope, SCOPES)
        return (
            f"is no registered name: NAME or SCOPE.NAME, with a scope of {', '.join(SCOPES)}.{hint}"
        )
    return f"names a class that {RUNS_CODE[name]}." if name in RUNS_CODE else None


def _is_ours(module: Any) -> bool:
    return (
        isinstance(module, str)
        and re.fullmatch(r"(mmmamba|mmdet|mmseg)(\.[A-Za-z_]\w*)*", module) is not None
    )


def _walk(node: Any, place: str) -> Iterator[tuple[str, str, Any]]:
    """Dotted place, key and value of all that is in a tree."""
    items = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, value in items:
        here = f"{place}.{key}" if place else str(key)
        # Dotted keys would be taken apart when merged.
        for part in str(key).split("."):
            yield here, part, value
        yield from _walk(value, here)


def _nothing(name: str) -> None:
    return None
