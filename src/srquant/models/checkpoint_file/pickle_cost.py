"""What loading a pickle would cost, found from its operations without building anything.

A pickle may use one value many times, so a short one can ask for much: a thousand copies of a long list, or a name made
of pairs of pairs of pairs, whose comparison takes hours. Costs are counted on sizes, each a number of parts.
"""

from collections.abc import Sequence
from typing import Any

BYTES_PER_PART = 64
"""Memory that a part of a list, tuple or dict takes; a text has a part for each 16 characters."""

BYTES_PER_NUMBER = 8
"""Of a stored tensor; most have fewer."""

LARGEST_SIZE = 2**40
"""Sizes are counted up to this."""


class Value:
    """What is known of a value.

    Args:
        size: parts, those of parts included.
        items: of a tuple.
        literal: of a number or text.
    """

    __slots__ = ("items", "literal", "size")

    def __init__(self, size: int = 1, items: "Sequence[Value] | None" = None, literal: Any = None) -> None:
        self.size, self.items, self.literal = min(size, LARGEST_SIZE), items, literal

    def grow(self, items: "Sequence[Value]") -> None:
        """Add parts."""
        self.size = min(self.size + sum(item.size for item in items), LARGEST_SIZE)


class PickleCost:
    """Follows the operations of a pickle that PyTorch's loader knows; after any other one it would have stopped.

    Attributes:
        bytes: that calls, names of values, and tensors would take so far.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.stack: list[Value] = []
        self.below: list[list[Value]] = []
        self.memo: dict[Any, Value] = {}
        self.storages: set[tuple[type, Any]] = set()
        self.known = True

    def follow(self, operation: str, argument: Any) -> None:
        """The next operation, by its name in ``pickletools``.

        Raises:
            IndexError: it takes more values than there are.
            KeyError: it takes a value from a place where none was put.
        """
        if not self.known:
            return
        if operation in PUSHED:
            self.stack.append(_value_of(argument))
        elif operation in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif operation in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif operation == "MARK":
            self.below.append(self.stack)
            self.stack = []
        else:
            self._use(operation)

    def _use(self, operation: str) -> None:
        if operation in TAKEN:
            self._join(operation, self._take(TAKEN[operation]))
        elif operation in ("REDUCE", "NEWOBJ"):
            _, arguments = self._take(2)
            self._charge(arguments.items or (arguments,))
            self.stack.append(Value())
        elif operation == "BINPERSID":
            (storage,) = self._take(1)
            self._store(storage)
            self.stack.append(Value())
        else:
            self.known = operation in ("PROTO", "STOP")

    def _join(self, operation: str, taken: Sequence[Value]) -> None:
        """Make a tuple of values, or put them into the value below; names are compared, and states are copied."""
        if operation.startswith("TUPLE"):
            self.stack.append(Value(1 + sum(item.size for item in taken), taken))
            return
        self._charge(taken[::2] if operation.startswith("SETITEM") else taken if operation == "BUILD" else ())
        self.stack[-1].grow(taken)

    def _store(self, storage: Value) -> None:
        """Count a tensor's numbers once: the third part of its description is a key, the fifth their number."""
        key, numbers = ((storage.items or ())[part].literal for part in (2, 4))
        if (type(key), key) not in self.storages:
            self.storages.add((type(key), key))
            self.bytes += BYTES_PER_NUMBER * int(numbers)

    def _take(self, count: int | None) -> Sequence[Value]:
        """The topmost values; for None those above the last mark."""
        if count is None:
            taken, self.stack = self.stack, self.below.pop()
            return taken
        if count > len(self.stack):
            raise IndexError("an operation takes more values than there are")
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def _charge(self, values: Sequence[Value]) -> None:
        self.bytes += BYTES_PER_PART * sum(value.size for value in values)


TAKEN = {
    "TUPLE": None,
    "TUPLE1": 1,
    "TUPLE2": 2,
    "TUPLE3": 3,
    "APPEND": 1,
    "APPENDS": None,
    "SETITEM": 2,
    "SETITEMS": None,
    "BUILD": 1,
}
"""How many values an operation takes; None: all above the last mark."""

PUSHED = {
    *("NONE", "NEWTRUE", "NEWFALSE", "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "GLOBAL"),
    *("BININT", "BININT1", "BININT2", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "LONG1"),
}
"""Operations that give a new value."""


def _value_of(argument: Any) -> Value:
    return Value(1 + len(argument) // 16 if isinstance(argument, str | bytes) else 1, literal=argument)
