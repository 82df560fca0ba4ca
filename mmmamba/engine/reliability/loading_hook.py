"""What a run loads, looked at before any of it is loaded: weights, averages, optimizer and
schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.hooks import EMAHook, Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, Runner

from ...checkpoints import CheckpointError
from ...checkpoints.errors import UnfitError
from ...checkpoints.loading import ALLOW
from ...errors import UsageError
from ...printable import printable, printable_names
from ...suggest import did_you_mean
from .resume.newest import go_on, run_fault, weight_names
from .resume.optimizer_state import check_optimizer, setting_faults
from .whole_weights import bare_network, fit_whole

AVERAGED = "module."
"""What MMEngine puts before the names of averaged weights."""


@HOOKS.register_module()
class LoadingHook(Hook):
    """Settles what is resumed, and lets only weights be loaded that fit the network whole, under
    any of their names.

    Training, validation and test, from a file of ours or of a model's authors. Of a run that is
    resumed, averaged weights, the optimizer's state and the schedules are held against this run's
    as well.

    Args:
        may_differ: names of modules and weights that `load_from` may lack, have of another shape or
            have alone when training begins, such as a head for other classes. Resuming and testing
            take no notice of it.
        begin_with: what `load_from` is where there is nothing to resume.
        left_out: names of modules that the network was built without and that checkpoints may have.
    """

    # Before EMAHook exchanges weights and averages.
    priority = "VERY_HIGH"

    def __init__(
        self,
        may_differ: Sequence[str] = (),
        begin_with: str | None = None,
        left_out: Sequence[str] = (),
    ) -> None:
        if isinstance(may_differ, str):
            raise UsageError(f"may_differ={may_differ!r}: give a list of names, [{may_differ!r}]")
        self.may_differ, self.begin_with, self.left_out = (
            tuple(may_differ),
            begin_with,
            tuple(left_out),
        )

    def before_run(self, runner: Runner) -> None:
        go_on(runner, self.begin_with)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        source = printable(runner._load_from)
        if not isinstance(runner, Runner):
            kind = type(runner).__name__
            print_log(
                f"{source} is loaded as {kind} does it: not compared with the model", "current", 30
            )
            return
        if runner._resume:
            self._check_run(runner, checkpoint, source)
        training = isinstance(runner._train_loop, BaseLoop)
        allowed = self.may_differ if training and not runner._resume else ()
        checkpoint["state_dict"] = self._fitted(runner, checkpoint, source, allowed)

    def _fitted(
        self, runner: Runner, held: Mapping, source: str, allowed: Sequence[str]
    ) -> dict[str, Any]:
        """The weights under our names."""
        try:
            matched, reports = fit_whole(runner.model, held, source, (*allowed, *self.left_out))
        except UnfitError as error:
            cure = (
                error.cure
                if error.cure != ALLOW
                else "Name a checkpoint of this config, or the config of this one"
            )
            if not runner._resume and isinstance(runner._train_loop, BaseLoop) and error.names:
                modules = dict.fromkeys(name.rpartition(".")[0] or name for name in error.names)
                cure = (
                    "To train these anew, as for another number of classes, and take the rest from "
                    f"the file: --may-differ {printable_names(modules)}"
                )
            raise UsageError(f"{error.finding}\n{cure}") from error
        for report in reports:
            runner.logger.info(str(report))
        if allowed:
            self._tell_what_differs(runner, matched, reports)
        return matched

    def _tell_what_differs(self, runner: Runner, matched: Mapping, reports: Sequence) -> None:
        ours = bare_network(runner.model).state_dict()
        names = [*ours, *(name for report in reports for name in report.unexpected)]
        for one in self.may_differ:
            if not any(name == one or name.startswith(f"{one}.") for name in names):
                raise UsageError(
                    f"may_differ names {one!r}, which neither the model nor {runner._load_from} "
                    f"has.{did_you_mean(one, {n.rpartition('.')[0] for n in ours}, 3)}"
                )
        anew = [name for name in weight_names(bare_network(runner.model)) if name not in matched]
        runner.logger.warning(
            f"may_differ: {len(anew)} tensors are not taken from {runner._load_from} and begin "
            f"anew: {printable_names(anew) or 'none'}"
        )

    def _check_run(self, runner: Runner, checkpoint: dict[str, Any], source: str) -> None:
        network = bare_network(runner.model)
        if fault := run_fault(checkpoint, weight_names(network)):
            raise UsageError(f"--resume {source}: {fault}")
        check_optimizer(checkpoint["optimizer"], runner.optim_wrapper, network, source)
        _check_schedules(checkpoint.get("param_schedulers"), runner.param_schedulers, source)
        averages = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
        held = checkpoint.get("ema_state_dict")
        if held is not None and not averages:
            runner.logger.warning(
                f"{source} holds averaged weights and this run has no EMAHook: it goes on from "
                "these"
            )
        for hook in averages if held is not None else []:
            _check_averages(held, hook, source)


def _check_averages(held: Any, hook: EMAHook, source: str) -> None:
    """Raises UsageError unless they are the averages of this network, all finite."""
    wanted = hook.ema_model.state_dict()
    label = f"{source} (averaged weights)"
    if not isinstance(held, Mapping):
        raise UsageError(f"{label}: ema_state_dict is a {type(held).__name__}, not a dictionary")
    if strange := held.keys() ^ wanted.keys():
        names = printable_names(sorted(map(str, strange)))
        raise UsageError(f"{label}: they have no place here, or are not there: {names}")
    inner = {
        name.removeprefix(AVERAGED): value
        for name, value in held.items()
        if name.startswith(AVERAGED)
    }
    try:
        fit_whole(hook.ema_model.module, dict(state_dict=inner), label)
    except CheckpointError as error:
        raise UsageError(str(error)) from error


def _check_schedules(held: Any, schedules: Any, source: str) -> None:
    """Raises UsageError unless each of this run's schedules has its own state: MMEngine pairs them
    by their order."""
    if held is None or schedules is None:
        return
    if isinstance(schedules, dict):
        wanted = {
            f"{key}.{number}": one
            for key, some in schedules.items()
            for number, one in enumerate(some)
        }
        theirs = {
            f"{key}.{number}": one
            for key, some in dict(held).items()
            for number, one in enumerate(some)
        }
    else:
        wanted, theirs = (dict(enumerate(some)) for some in (schedules, held))
    faults = (
        []
        if theirs.keys() == wanted.keys()
        else [f"it has {len(theirs)} of them, this run {len(wanted)}"]
    )
    if not faults:
        faults = [
            fault
            for key, one in wanted.items()
            for fault in setting_faults(theirs[key], one.state_dict(), f"param_scheduler {key}")
        ]
    if faults:
        raise UsageError(
            f"{source}: the state of the schedules does not fit this run; nothing was loaded: "
            f"{faults[0]}. Train with the param_scheduler that the checkpoint was made with"
        )
