"""Where the package's log lines go."""

import logging

from mmengine.logging import MMLogger


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
