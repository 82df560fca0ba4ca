"""Weights, averages, optimizer and schedules, looked at before a run loads any of them."""

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
from ..bare_model import bare_model
from .resume.newest import go_on, run_fault, weight_names
from .resume.optimizer_state import check_optimizer
from .resume.settings import setting_faults
from .superfluous_weights import leave_out_superfluous
from .whole_weights import fit_whole

AVERAGED = "module."
"""What MMEngine puts before the names of averaged weights."""


@HOOKS.register_module()
class LoadingHook(Hook):
    """Settles what is resumed, and lets only weights be loaded that fit the network whole.

    They may have any of their names, ours or those of a model's authors, and be loaded for
    training, validation or test. Of a run that is resumed, averaged weights, the optimizer's state
    and the schedules are held against this run's as well.

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
        # MMEngine initialises a network's weights next.
        leave_out_superfluous(runner, () if runner._resume else self.may_differ)

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
        # A test never builds its training loop: there it is the config's dictionary, or None.
        training = isinstance(runner._train_loop, BaseLoop)
        allowed = self.may_differ if training and not runner._resume else ()
        # MMEngine loads what stands here, and takes no notice of what is missing or left over.
        checkpoint["state_dict"] = self._fitted(runner, checkpoint, source, allowed)

    def _fitted(
        self, runner: Runner, held: Mapping, source: str, allowed: Sequence[str]
    ) -> dict[str, Any]:
        """The weights under our names.

        Args:
            allowed: what of the network the file need not fit.
        """
        try:
            matched, reports = fit_whole(runner.model, held, source, (*allowed, *self.left_out))
        except UnfitError as error:
            raise UsageError(f"{error.finding}\n{_cure(runner, error)}") from error
        for report in reports:
            runner.logger.info(str(report))
        if allowed:
            self._tell_what_differs(runner, matched, reports)
        return matched

    def _tell_what_differs(self, runner: Runner, matched: Mapping, reports: Sequence) -> None:
        ours = bare_model(runner.model).state_dict()
        # A name may be of what the file alone has, such as an auxiliary head that is given up.
        names = [*ours, *(name for report in reports for name in report.unexpected)]
        for one in self.may_differ:
            if not any(name == one or name.startswith(f"{one}.") for name in names):
                modules = {name.rpartition(".")[0] for name in ours}
                raise UsageError(
                    f"may_differ names {one!r}, which neither the model nor {runner._load_from} "
                    f"has.{did_you_mean(one, modules, 3)}"
                )
        anew = [name for name in weight_names(bare_model(runner.model)) if name not in matched]
        runner.logger.warning(
            f"may_differ: {len(anew)} tensors are not taken from {runner._load_from} and begin "
            f"anew: {printable_names(anew) or 'none'}"
        )

    def _check_run(self, runner: Runner, checkpoint: dict[str, Any], source: str) -> None:
        network = bare_model(runner.model)
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


def _cure(runner: Runner, error: UnfitError) -> str:
    """What to do about weights that do not fit, in words of the command line."""
    begins_training = isinstance(runner._train_loop, BaseLoop) and not runner._resume
    if begins_training and error.names:
        modules = dict.fromkeys(name.rpartition(".")[0] or name for name in error.names)
        return (
            "To train these anew, as for another number of classes, and take the rest from the "
            f"file: --may-differ {printable_names(modules)}"
        )
    # That of a backbone names arguments that no command has.
    if error.cure == ALLOW:
        return "Name a checkpoint of this config, or the config of this one"
    return error.cure


def _check_averages(held: Any, hook: EMAHook, source: str) -> None:
    """Raises UsageError unless they are the averages of this network, all finite."""
    label = f"{source} (averaged weights)"
    if not isinstance(held, Mapping):
        raise UsageError(f"{label}: ema_state_dict is a {type(held).__name__}, not a dictionary")
    if strange := held.keys() ^ hook.ema_model.state_dict().keys():
        names = printable_names(sorted(map(str, strange)))
        raise UsageError(f"{label}: they have no place here, or are not there: {names}")
    inner = {}
    for name, value in held.items():
        # Beside the weights there is a count of steps.
        if name.startswith(AVERAGED):
            inner[name.removeprefix(AVERAGED)] = value
    try:
        fit_whole(hook.ema_model.module, dict(state_dict=inner), label)
    except CheckpointError as error:
        raise UsageError(str(error)) from error


def _check_schedules(held: Any, schedules: Any, source: str) -> None:
    """Raises UsageError unless each of this run's schedules has its own state.

    MMEngine pairs them by their order.
    """
    if held is None or schedules is None:
        return
    theirs, wanted = _by_name(held), _by_name(schedules)
    if theirs.keys() != wanted.keys():
        fault = f"it has {len(theirs)} of them, this run {len(wanted)}"
    else:
        fault = _schedule_fault(theirs, wanted)
    if fault:
        raise UsageError(
            f"{source}: the state of the schedules does not fit this run; nothing was loaded: "
            f"{fault}. Train with the param_scheduler that the checkpoint was made with"
        )


def _schedule_fault(theirs: Mapping, wanted: Mapping) -> str | None:
    """The first thing that does not fit."""
    for name, schedule in wanted.items():
        for fault in setting_faults(theirs[name], schedule.state_dict(), f"param_scheduler {name}"):
            return fault
    return None


def _by_name(schedules: Any) -> dict[Any, Any]:
    """Schedules by their number, of several optimizers by name and number."""
    found: dict[Any, Any] = {}
    if isinstance(schedules, (list, tuple)):
        found.update(enumerate(schedules))
    elif isinstance(schedules, Mapping):
        for key, some in schedules.items():
            numbered = _by_name(some)
            found.update({f"{key}.{number}": one for number, one in numbered.items()})
    return found
