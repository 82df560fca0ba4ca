"""Whether our operators are to be made of operators that everyone knows, for files that leave.

Read by those operators, and set while a model is traced (`export/tracing.py`).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from torch.utils._python_dispatch import _disable_current_modes

_LOWERING = ContextVar("lowering", default="")


@contextmanager
def lowering(unrolled: bool = False) -> Iterator[None]:
    """Operators called inside leave none of ours in what is traced.

    Args:
        unrolled: write the steps of scans out in groups, for a compiler that makes one kernel of
            many operators; else scans are loops.
    """
    token = _LOWERING.set("unrolled" if unrolled else "loops")
    try:
        yield
    finally:
        _LOWERING.reset(token)


def lowers() -> bool:
    """Whether this runs inside of `lowering`."""
    return bool(_LOWERING.get())


def unrolls() -> bool:
    """Whether this runs inside of `lowering(unrolled=True)`."""
    return _LOWERING.get() == "unrolled"


def beside_tracing() -> AbstractContextManager:
    """Tensors made inside hold numbers, which a tracer takes for constants."""
    return _disable_current_modes()
