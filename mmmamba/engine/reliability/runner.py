"""MMEngine's runner, for training and for everything else."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.dist import master_only
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ...errors import UsageError
from ..log import DetailsAside
from .resume.changed import ChangedHook
from .run_config import check_place, write_config
from .safe_loading import refuse_pickled_messages


class _ConfigInWorkDir:
    """In front of a class of runner: the config of the run goes into the work dir.

    MMEngine would write it there under the name of the user's config, and over a file of that name.
    """

    @master_only
    def dump_config(self) -> None:
        write_config(self.cfg, self.work_dir)


class _ConfigInLog:
    """In front of a class of runner: the config goes beside the log, being none of a training."""

    @master_only
    def dump_config(self) -> None:
        write_config(self.cfg, self.log_dir)


def build_training_runner(cfg: Config) -> Runner:
    """The runner that trains a config, which tells what a resumed run has changed.

    Raises:
        UsageError: `runner_type` is no registered runner, or a file of the user's is where the
            config of the run goes.
    """
    check_place(cfg.work_dir)
    runner = _build(cfg, _ConfigInWorkDir)
    # Before a checkpoint is refused, which a change of the config may be the reason of.
    runner.register_hook(ChangedHook(), priority="HIGHEST")
    return runner


def build_runner(cfg: Config) -> Runner:
    """The runner that does anything but train with a config, which leaves the work dir as it is.

    Raises:
        UsageError: `runner_type` is no registered runner.
    """
    return _build(cfg, _ConfigInLog)


def _build(cfg: Config, in_front: type) -> Runner:
    """MMEngine's runner, or the one that `runner_type` names, behind a class of ours."""
    kind = cfg.get("runner_type", Runner)
    if isinstance(kind, str):
        kind = RUNNERS.get(kind)
    if kind is None:
        raise UsageError(
            f"runner_type={cfg.runner_type!r} is not registered; import its module by "
            "custom_imports"
        )
    # Under the name of the runner that was asked for, which logs and error messages show.
    ours = type(kind.__name__, (in_front, DetailsAside, kind), dict(__module__=kind.__module__))
    runner = ours.from_cfg(cfg)
    if cfg.get("default_scope") == "mmdet":
        refuse_pickled_messages()
    return runner
