"""The promise that nothing is lost: what a run needs to be stopped, killed or resumed at any point.

Exact resuming, checkpoints that are whole or not there, saving on signals, stopping at NaN, files
that run nothing when they are read. The rest of the package takes what it needs from here;
importing it registers the hooks and loops that configs name.
"""

from ...checkpoints.last_checkpoint import LAST, find_last
from . import deterministic, nan_guard, resume  # noqa: F401
from .before_training import EXIT_SAVED, nothing_to_save
from .deterministic import make_deterministic
from .interrupt import Interrupted
from .nan_report import replay
from .reliable import load_strictly, make_reliable
from .restarts import meet_again, restarts_of, resumed_after_restart
from .run_config import FILE as RUN_CONFIG
from .runner import build_runner, build_training_runner
from .safe_loading import refuse_unpickling
from .whole_files import write_whole
from .whole_weights import load_whole
from .work_dir import check_work_dir, claimed

__all__ = [
    "EXIT_SAVED",
    "LAST",
    "RUN_CONFIG",
    "Interrupted",
    "build_runner",
    "build_training_runner",
    "check_work_dir",
    "claimed",
    "find_last",
    "load_strictly",
    "load_whole",
    "make_deterministic",
    "make_reliable",
    "meet_again",
    "nothing_to_save",
    "refuse_unpickling",
    "replay",
    "restarts_of",
    "resumed_after_restart",
    "write_whole",
]
