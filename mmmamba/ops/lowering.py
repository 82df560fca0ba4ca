"""Whether our operators are to be made of operators that everyone knows, for files that leave.

Read by those operators, and set while a model is traced (`exporting/tracing.py`).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

from torch import Tensor
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


def constants(*sides: object, table: Tensor | None = None) -> AbstractContextManager:
    """`beside_tracing` inside of `lowering`, where what is made depends on numbers alone.

    Args:
        sides: lengths that it depends on, numbers or a tracer's symbols.
        table: what else it depends on; one of a tracer's own has no numbers.
    """
    known = all(isinstance(side, int) for side in sides)
    plain = table is None or type(table) is Tensor
    return beside_tracing() if lowers() and known and plain else nullcontext()
