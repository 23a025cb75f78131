"""Look at networks while they learn, for analyses; methods know nothing of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from srquant.models.network import Network

See = Callable[[Network], None]

_see: ContextVar[See | None] = ContextVar("see", default=None)


@contextmanager
def observed_students(see: See) -> Iterator[None]:
    """While the context is open, show ``see`` every network at the start of each pass in which it learns.

    The network changes in place from step to step, so whoever keeps it can measure it whenever the method reports
    progress; it must be left as it is.
    """
    token = _see.set(see)
    try:
        yield
    finally:
        _see.reset(token)


def show_student(student: Network) -> None:
    """Show a network that is about to learn."""
    see = _see.get()
    if see is not None:
        see(student)
