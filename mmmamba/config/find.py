"""The configs that come with the package, by path or by name."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from ..checkpoints import Published, list_published
from ..errors import UsageError
from ..suggest import did_you_mean

PACKAGE = Path(__file__).parents[1]


def configs_folder() -> Path:
    """Where the configs lie: inside an installed package, beside it in a checkout."""
    inside = PACKAGE / "configs"
    return inside if inside.is_dir() else PACKAGE.parent / "configs"


def list_configs(pattern: str = "*") -> list[Path]:
    """Configs to train, bases left out, whose `method/name` or name matches a shell pattern."""
    root = configs_folder()
    paths = (p for p in sorted(root.rglob("*.py")) if "_base_" not in p.relative_to(root).parts)
    return [p for p in paths if fnmatch(p.stem, pattern) or fnmatch(config_name(p), pattern)]


def config_name(path: Path) -> str:
    """The name of a config that comes with mmmamba, such as `mask_rcnn/vmamba_t_1x_coco`."""
    return path.relative_to(configs_folder()).with_suffix("").as_posix()


def find_config(name: str | Path) -> Path:
    """The file that a path or a name stands for.

    Args:
        name: a path, `mask_rcnn/vmamba_t_1x_coco`, or `vmamba_t_1x_coco` where only one method has
            a config of that name.

    Raises:
        UsageError: no such config, or several.
    """
    # A file comes first: a user's own may have the name of a shipped one.
    path = Path(name)
    if path.is_file():
        return path
    wanted = str(name).removeprefix("configs/").removesuffix(".py")
    found = [p for p in list_configs() if wanted in (config_name(p), p.stem)]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(config_name(p) for p in found)
        raise UsageError(f"{name} names {len(found)} configs: {several}. Write one of these")
    # A glob of a folder that is not there finds nothing.
    beside = [str(p) for p in path.parent.glob("*.py")] if path.parent != Path(".") else []
    shipped = [config_name(p) for p in list_configs()]
    # With the method or without it, as the user wrote the name.
    if "/" not in wanted:
        shipped = sorted({name.split("/")[1] for name in shipped})
    raise UsageError(
        f"there is no config file {path}, seen from {Path.cwd()}, and none of this name comes with "
        f"mmmamba.{did_you_mean(str(path), beside, 3) or did_you_mean(wanted, shipped, 3)}"
    )


def weights_of(config: Path, arch: str) -> list[Published]:
    """What a backbone's authors published for the method and schedule of a config of ours."""
    if not config.resolve().is_relative_to(configs_folder().resolve()):
        return []
    # Names of published tasks are those of our folders and schedules: `mask_rcnn` and `1x`.
    schedule = config.stem.removeprefix(f"{arch}_").split("_")[0]
    if config.parent.name == "imagenet":
        # As `300e`, `1000e-distilled`: most authors have one file, however it was trained.
        kind = schedule.partition("-")[2]
        special = list_published(arch, f"classification_{kind}") if kind else []
        return special or list_published(arch, "classification")
    return list_published(arch, f"{config.parent.name}_{schedule}")
