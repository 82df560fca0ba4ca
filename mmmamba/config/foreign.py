"""The configs that mmdet and mmseg ship, by name."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ..errors import UsageError
from ..suggest import did_you_mean
from .methods import METHODS, SHORT

PACKAGES = ("mmdet", "mmseg")


def configs_of(package: str) -> Path:
    """The folder of an installed package's configs.

    Raises:
        UsageError: the package is not installed, or came without them.
    """
    spec = find_spec(package)
    places = list(spec.submodule_search_locations or []) if spec else []
    for place in places:
        # Where OpenMMLab's wheels keep what lies beside the package in a checkout.
        if (root := Path(place) / ".mim" / "configs").is_dir():
            return root
        if (root := Path(place).parent / "configs").is_dir():
            return root
    raise UsageError(
        f"{package} has no folder of configs here: pip install onedl-"
        f"{'mmdetection' if package == 'mmdet' else 'mmsegmentation'}"
    )


def methods_of(package: str) -> list[str]:
    """The folders of an installed package that hold configs."""
    root = configs_of(package)
    return sorted(
        path.name for path in root.iterdir() if path.name != "_base_" and any(path.glob("*.py"))
    )


def method_path(package: str, method: str) -> Path:
    """The config that the name of a method alone stands for."""
    name = SHORT.get(f"{package}/{method}") or METHODS[package][method]
    return configs_of(package) / method / f"{name}.py"


def foreign_path(package: str, name: str) -> Path:
    """The file of a config of mmdet or mmseg.

    Args:
        name: `dino/dino-4scale_r50_8xb2-12e_coco`, with or without `.py`, the name of the file
            alone, or of the method alone: `dino`.

    Raises:
        UsageError: there is none of that name.
    """
    root = configs_of(package)
    name = name.removesuffix(".py")
    if name in METHODS[package]:
        return method_path(package, name)
    if "_base_" not in Path(name).parts and (root / f"{name}.py").is_file():
        return root / f"{name}.py"
    folder, _, stem = name.rpartition("/")
    paths = sorted((root / folder).glob("*.py" if folder else "[!_]*/*.py"))
    if found := [path for path in paths if path.stem == stem]:
        return found[0]
    known = [path.relative_to(root).with_suffix("").as_posix() for path in paths]
    hint = did_you_mean(name, known, 3) or did_you_mean(stem, [path.stem for path in paths], 3)
    hint = hint or did_you_mean(name, METHODS[package], 3)
    raise UsageError(f"{package} ships no config {name!r} (mmmamba list --heads).{hint}")


def foreign_name(package: str, path: Path) -> str:
    """How a config names one of another package: `mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py`."""
    return f"{package}::{path.relative_to(configs_of(package)).as_posix()}"


def method_of(package: str, path: Path) -> str:
    """`mmdet/dino`, of a config of the package."""
    return f"{package}/{path.relative_to(configs_of(package)).parts[0]}"
