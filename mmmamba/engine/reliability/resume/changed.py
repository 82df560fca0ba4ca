"""What a resumed run takes from its config and what from its checkpoint, where the two differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner

from ....config.keys import SECTIONS, TOP_LEVEL
from ....config.text import Tree, read_text
from ....errors import UsageError
from ....printable import printable
from .loops import EPOCH_KEY
from .newest import run_fault

NOT_OF_THE_RUN = {
    "work_dir",
    "load_from",
    "resume",
    "launcher",
    "expected",
    "log_level",
    "runner_type",
    "tta_model",
    "tta_pipeline",
    "test_cfg",
    "test_dataloader",
    "test_evaluator",
}
"""Settings that training does not read, or that differ with each start."""
OF_EACH_START = (("visualizer", "name"), ("default_hooks", "loading"))
OF_THE_CHECKPOINT = (
    ("param_scheduler",),
    ("optim_wrapper", "optimizer"),
    ("optim_wrapper", "paramwise_cfg"),
    ("randomness", "seed"),
)
"""Parts whose state is in the checkpoint, settings included.

MMEngine loads it over what the config says.
"""
SHOWN = 20
Place = tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """A setting of the config that is another in the run; None where one of them lacks it."""

    place: Place
    config: Tree | None
    run: Tree | None

    def within(self, parts: tuple[Place, ...]) -> bool:
        return any(self.place[: len(part)] == part for part in parts)

    @property
    def of_the_checkpoint(self) -> bool:
        return self.within(OF_THE_CHECKPOINT)

    @property
    def unfit(self) -> bool:
        """The checkpoint's state is that of another kind of optimizer or schedule.

        Another number of schedules counts as that.
        """
        return self.of_the_checkpoint and (
            self.place[-1] == "type" or self.place == ("param_scheduler",)
        )

    @property
    def taken(self) -> str:
        """Which of the two a resumed run goes on with."""
        if self.of_the_checkpoint:
            return "the run's, which the checkpoint holds"
        return "the config's"

    def __str__(self) -> str:
        place = printable(".".join(self.place))
        return f"{place} is {_shown(self.config)}, in the run {_shown(self.run)}"


def changes(config: str, run: str) -> list[Change]:
    """Settings in which two printed configs differ, and which training reads.

    Raises:
        ValueError: one of them is no config that MMEngine printed.
    """
    found = _changes(_read_by_training(config), _read_by_training(run), ())
    return [change for change in found if not change.within(OF_EACH_START)]


def _read_by_training(text: str) -> dict[str, Tree]:
    """The settings of a printed config that training reads."""
    settings = read_text(text)
    # What else stands at the top are a config's own variables, whose values reached the sections.
    names = settings.keys() & (SECTIONS | TOP_LEVEL) - NOT_OF_THE_RUN
    return {name: settings[name] for name in settings if name in names}


def _changes(one: Tree | None, two: Tree | None, place: Place) -> Iterator[Change]:
    if one == two:
        return
    if isinstance(one, dict) and isinstance(two, dict):
        for key in {**one, **two}:
            yield from _changes(one.get(key), two.get(key), (*place, key))
    # Place by place only where the same steps stand in the same places: with one put in between,
    # all behind it would be told as changed.
    elif isinstance(one, list) and isinstance(two, list) and _kinds(one) == _kinds(two):
        for index, (left, right) in enumerate(zip(one, two)):
            yield from _changes(left, right, (*place, str(index)))
    else:
        yield Change(place, one, two)


def _kinds(entries: list[Tree]) -> list[Any]:
    """What each of a pipeline's steps or the like is.

    Lists of plain values are told apart by all of their entries, and so compared as a whole.
    """
    kinds = [entry.get("type") if isinstance(entry, dict) else None for entry in entries]
    # The None in front keeps plain values from passing for types of the same text.
    return kinds if all(kinds) else [None, *map(str, entries)]


def _shown(node: Tree | None) -> str:
    if node is None:
        return "not set"
    return printable(_text(node))


def _text(node: Tree) -> str:
    if isinstance(node, list):
        return f"[{', '.join(map(_text, node))}]"
    if isinstance(node, dict):
        return str(node["type"]).strip("'\"") if "type" in node else f"dict({', '.join(node)})"
    return node


class ChangedHook(Hook):
    """Says in the log, a line each, what differs from the config that a resumed run had.

    It says as well when nothing is left to train.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        # What is wrong with a checkpoint, the loading hook tells.
        if not runner._resume or run_fault(checkpoint) is not None:
            return
        meta = checkpoint["meta"]
        left = _nothing_left(runner.train_loop, checkpoint)
        if left:
            runner.logger.warning(left)
        try:
            found = changes(runner.cfg.pretty_text, meta.get("cfg", ""))
        except (TypeError, ValueError) as error:
            runner.logger.warning(
                f"the checkpoint does not say with which config it was trained ({error}): it may "
                "have been another than this one"
            )
            return
        # Looked for among all of them before any is told, of which only the first are.
        for change in found:
            if change.unfit:
                raise UsageError(
                    f"--resume: {change}; the state of an optimizer or a schedule goes into one of "
                    "its own kind only. Write that of the run into the config, or begin anew from "
                    "its weights: without --resume, with --cfg-options load_from=CHECKPOINT"
                )
        for change in found[:SHOWN]:
            runner.logger.warning(
                f"the config differs from that of the run: {change}. Taken: {change.taken}"
            )
        if len(found) > SHOWN:
            runner.logger.warning(
                f"the config differs from that of the run in {len(found) - SHOWN} more settings"
            )


def _nothing_left(loop: BaseLoop, checkpoint: dict) -> str | None:
    """A line where the run has done all that the config asks for."""
    if isinstance(loop, EpochBasedTrainLoop):
        unit, done, wanted = "epochs", _epochs_done(checkpoint), loop.max_epochs
    else:
        unit, done, wanted = "iters", checkpoint["meta"]["iter"], loop.max_iters
    if done < wanted:
        return None
    return f"nothing is left to train: {unit} that are done: {done}, train_cfg.max_{unit}: {wanted}"


def _epochs_done(checkpoint: dict) -> int:
    meta = checkpoint["meta"]
    began = checkpoint["message_hub"]["runtime_info"].get(EPOCH_KEY)
    if began is None:
        return meta["epoch"]
    epoch, first, length = began
    # A checkpoint by iterations at the end of an epoch is counted as one within it.
    at_its_end = epoch == meta["epoch"] and meta["iter"] - first >= length
    return meta["epoch"] + at_its_end
