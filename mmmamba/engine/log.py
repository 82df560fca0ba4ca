"""Where the package's log lines go, and MMEngine's long texts."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger

DETAILS = "details.txt"
"""The file beside the log that holds what a run tells of its start at length."""
OFF_SCREEN = "off_screen"
"""Attribute of records that files alone take."""


class _CurrentLog(logging.Handler):
    """Hands a record to MMEngine's current logger."""

    def emit(self, record: logging.LogRecord) -> None:
        # Asked for with each record, as a later run of this process has another logger.
        MMLogger.get_current_instance().handle(record)


def forward_to_mmengine() -> None:
    """Make the lines of the logger `mmmamba` part of a run's log.

    Calling it again changes nothing.
    """
    logger = logging.getLogger("mmmamba")
    if not any(isinstance(handler, _CurrentLog) for handler in logger.handlers):
        logger.addHandler(_CurrentLog())
        logger.setLevel(logging.INFO)


@contextmanager
def coco_in_log(logger: MMLogger) -> Iterator[None]:
    """Within it pycocotools says into the log's file what it would print.

    Its thirty lines a validation are in the line of results that MMEngine logs; the functions here
    take the place of `print` in its two modules.
    """
    # Here, as a backbone alone needs no pycocotools.
    from pycocotools import coco, cocoeval

    def say(*words: Any) -> None:
        # Whoever catches what is printed is to have it.
        if isinstance(sys.stdout, io.StringIO):
            print(*words)
            return
        logger.info(" ".join(map(str, words)), extra={OFF_SCREEN: True})

    modules = coco, cocoeval
    for module in modules:
        module.print = say
    try:
        yield
    finally:
        for module in modules:
            del module.print


class DetailsAside:
    """In front of a class of runner: long texts of its start go into a file beside the log.

    The environment, the config, the order of the hooks and how each weight began are thousands of
    lines; screen and log begin with what a run does. Warnings, and all that is said once the run
    has begun, go where MMEngine has them.
    """

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in _screens(logger):
            handler.addFilter(_is_for_screen)
        self._details = _Details(logger, Path(self.log_dir, DETAILS))
        return logger

    def load_or_resume(self) -> None:
        # What training, validation and tests have in common before they begin.
        self._details.end()
        super().load_or_resume()


class _Details:
    """A file of a logger's long records, until it is ended."""

    def __init__(self, logger: MMLogger, path: Path) -> None:
        self.logger, self.file = logger, None
        # Processes but the first have no file.
        if not any(isinstance(handler, logging.FileHandler) for handler in logger.handlers):
            return
        self.others = list(logger.handlers)
        self.file = logging.FileHandler(path, "a", encoding="utf-8")
        self.file.addFilter(_is_long)
        for handler in self.others:
            handler.addFilter(_is_short)
        # MMEngine writes how weights began into every FileHandler, past its filters.
        logger.handlers[:] = [*map(_hidden, self.others), self.file]

    def end(self) -> None:
        """From here on nothing is set aside."""
        if self.file is None:
            return
        for handler in self.others:
            handler.removeFilter(_is_short)
        self.logger.handlers[:] = self.others
        self.file.close()
        self.file = None


class _Behind(logging.Handler):
    """Hands records to a handler of a file without being one."""

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__(handler.level)
        self.handler = handler

    def emit(self, record: logging.LogRecord) -> None:
        self.handler.handle(record)


def _hidden(handler: logging.Handler) -> logging.Handler:
    return _Behind(handler) if isinstance(handler, logging.FileHandler) else handler


def _screens(logger: MMLogger) -> list[logging.Handler]:
    return [one for one in logger.handlers if not isinstance(one, logging.FileHandler)]


def _is_for_screen(record: logging.LogRecord) -> bool:
    return not hasattr(record, OFF_SCREEN)


def _is_long(record: logging.LogRecord) -> bool:
    # Warnings and errors are for the screen whatever their length.
    if record.levelno >= logging.WARNING:
        return False
    message = record.getMessage()
    # A line for each setting of each parameter.
    of_parameters = message.startswith("paramwise_options")
    return of_parameters or hasattr(record, OFF_SCREEN) or "\n" in message.strip()


def _is_short(record: logging.LogRecord) -> bool:
    return not _is_long(record)
