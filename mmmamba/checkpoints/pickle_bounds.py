"""Pickles looked at before they are read: what reading them would take is bounded by their size.

torch's weights-only reader runs no code of a file. Yet what it does call can be told to work
without end: hashing a tuple visits every path through the tuples in it, so pairs of pairs double
the time with each level, in C, where no signal is heard; nested deeply enough they end the process.
Here a pickle's opcodes are followed without making anything of them.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import tarfile
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch._utils import IMPORT_MAPPING, NAME_MAPPING

from ..printable import printable

MOST_DEPTH = 200
"""Levels of what a file holds. A whole pickled detector has some 50."""
WORK_PER_BYTE, FREE_WORK = 10, 1_000_000
UNUSUAL_KEY = 1_000
"""Work that a key is charged with that is no text or small number: many may have one hash."""
LEGACY_PICKLES = ("version", "system", "content", "names of storages")
"""What stands after the magic number of a file that is no archive; then come the storages."""

# What makes copies of its arguments, or as much as they ask for, and what no checkpoint here needs.
ENCODE, BYTEARRAY, TYPED = (
    "_codecs.encode",
    "builtins.bytearray",
    "torch._tensor._rebuild_from_type_v2",
)
HASHING = ("builtins.set", "builtins.frozenset", "collections.Counter", "collections.OrderedDict")
BYTES = "bytes"
TOO_MUCH = "its objects hold one another so often that reading them would take too long"
REFUSED = re.compile(
    r"torch\._utils\._rebuild_(nested_tensor|wrapper_subclass|device_tensor_from_\w+)"
)


class RefusedPickleError(pickle.UnpicklingError):
    """A pickle that would take more time, memory or depth than its size justifies.

    The text begins with "it".
    """


class _Node:
    """What an opcode would make.

    Attributes:
        work: visits of all that is in it, what is shared counted each time; of tuples and what was
            made of arguments with their content, of lists and dicts beside.
        depth: levels below it.
        items: of a tuple.
        name: of a class or function.
        unusual: how many of its members are no plain keys.
    """

    __slots__ = ("depth", "items", "name", "unusual", "work")

    def __init__(
        self, work: int = 1, depth: int = 0, items: tuple | None = None, name: str = ""
    ) -> None:
        self.work, self.depth, self.items, self.name, self.unusual = work, depth, items, name, 0


class _List(_Node):
    """A list, dict or set, whose content a tuple around it does not hash."""

    __slots__ = ()


def check_pickles(path: Path) -> None:
    """Look at what `torch.load` would unpickle of a file.

    Raises:
        RefusedPickleError: it would take too much.
        ValueError: it is no pickle.
    """
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        # Read as torch.load will, so that both see the same.
        check_pickle(BytesIO(torch._C.PyTorchFileReader(str(path)).get_record("data.pkl")))
        return
    # torch tries this layout first, and what is packed in it would not be seen here.
    if _is_tar(path):
        raise RefusedPickleError("it is a tar archive, as torch wrote before 2017")
    with path.open("rb") as file:
        # The layout of torch before 1.6: this number, four more pickles, then raw storages.
        if check_pickle(file) == torch.serialization.MAGIC_NUMBER:
            for _ in LEGACY_PICKLES:
                check_pickle(file)


def check_pickle(file: BinaryIO) -> Any:
    """Follow one pickle to its end, and return it if it is a number.

    Raises:
        RefusedPickleError: reading it would take too much.
        ValueError: it is no pickle.
    """
    return _Follower(file).follow()


def _is_tar(path: Path) -> bool:
    try:
        tarfile.open(path, "r:").close()
    except tarfile.TarError:
        return False
    return True


class _Follower:
    """The stack machine of a pickle, on `_Node`; numbers and texts are themselves."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.work, self.allowed = file, 0, FREE_WORK
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def follow(self) -> Any:
        start = self.file.tell()
        # A stack or memo that lacks something raises LookupError, which callers take for damage.
        for opcode, argument, position in pickletools.genops(self.file):
            if opcode.name == "STOP":
                break
            handler = HANDLERS.get(opcode.name)
            if handler is None:
                # The reader stops here too, with an error.
                return None
            # It is none only for files that cannot tell theirs.
            assert position is not None
            read = position - start + (len(argument) if isinstance(argument, str) else 0)
            # Bytes so far: the size of the whole file must not pay for what its beginning asks.
            self.allowed = FREE_WORK + WORK_PER_BYTE * read
            handler(self, argument)
            if self.work > self.allowed:
                raise RefusedPickleError(TOO_MUCH)
        top = self.stack[-1]
        return top if isinstance(top, int) else None

    def push(self, argument: Any) -> None:
        self.stack.append(argument)

    def new_list(self, _: Any) -> None:
        self.stack.append(_List())

    def name(self, argument: str) -> None:
        module, _, attribute = argument.partition(" ")
        # Python 2's names, as the reader takes them.
        if (module, attribute) in NAME_MAPPING:
            module, attribute = NAME_MAPPING[module, attribute]
        self.stack.append(_Node(name=f"{IMPORT_MAPPING.get(module, module)}.{attribute}"))

    def put(self, argument: int) -> None:
        self.memo[argument] = self.stack[-1]

    def get(self, argument: int) -> None:
        # The object itself, not a copy: what it will hold later counts wherever it stands.
        self.stack.append(self.memo[argument])

    def mark(self, _: Any) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def popped(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def tuple_of(self, items: Iterable[Any]) -> None:
        held = tuple(items)
        node = _Node(items=held)
        # An item that was read once and is held twice counts twice, as a hash visits it twice.
        for item in held:
            node.work += _cost(item)
            node.depth = max(node.depth, _depth(item) + 1)
        self.bounded(node)
        self.stack.append(node)

    def popped_last(self, number: int) -> list[Any]:
        items = self.stack[-number:]
        del self.stack[-number:]
        return items

    def extend(self, items: Iterable[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, _Node):
            raise ValueError("it adds to what is no list")
        for item in items:
            target.work += _cost(item)
            target.depth = max(target.depth, _depth(item) + 1)
            target.unusual += _is_unusual(item)
        self.bounded(target)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, _Node):
            raise ValueError("it adds to what is no dict")
        # Keys and values alternate. Keys are hashed now, values are not.
        for key in items[::2]:
            if _is_unusual(key):
                target.unusual += 1
                self.work += UNUSUAL_KEY + _cost(key)
        # `extend` counts values as well, which nobody hashes.
        unusual = target.unusual
        self.extend(items)
        target.unusual = unusual

    def reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.call(function, arguments)

    def call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, _Node) or not isinstance(arguments, _Node):
            raise ValueError("it calls what is no function")
        name, given = function.name, arguments.items
        # A tensor of a subclass names the function that makes it: that one is judged, too.
        if name == TYPED:
            inner = given[0].name if given and isinstance(given[0], _Node) else ""
            if not inner.startswith("torch._utils._rebuild_") or REFUSED.fullmatch(inner):
                raise RefusedPickleError(f"it makes a tensor by {printable(inner) or 'nothing'}")
        elif REFUSED.fullmatch(name):
            raise RefusedPickleError(f"it makes a tensor by {name}, which no weights need")
        elif name in (ENCODE, BYTEARRAY):
            if given is None or not _is_latin(given):
                raise RefusedPickleError(f"it calls {name} with other than text in latin-1")
        elif name in HASHING:
            # A tuple counts a list in it as one; here the list's content is copied and hashed.
            for item in given or ():
                self.work += UNUSUAL_KEY * getattr(item, "unusual", 0) + getattr(item, "work", 1)
        self.work += _cost(arguments)
        result = _Node(_cost(arguments) + 1, _depth(arguments) + 1)
        # Marked, so that `bytearray` of it is known to be no longer than the text was.
        if name == ENCODE:
            result.name = BYTES
        elif name in HASHING:
            result = _List(1, _depth(arguments) + 1)
        self.bounded(result)
        self.stack.append(result)

    def build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, _Node):
            raise ValueError("it gives a state to what has none")
        # A dict is copied into the object's.
        self.work += state.work if isinstance(state, _Node) else 1
        target.depth = max(target.depth, _depth(state) + 1)
        self.bounded(target)

    def storage(self, _: Any) -> None:
        # The reader sets a storage in the place of its description, whose bytes stand elsewhere.
        self.stack[-1] = _Node()

    def bounded(self, node: _Node) -> None:
        if node.depth > MOST_DEPTH:
            raise RefusedPickleError(f"its objects are nested more than {MOST_DEPTH} levels deep")
        # A list costs something only where it is copied or hashed, which `call` counts.
        if node.work > self.allowed and not isinstance(node, _List):
            raise RefusedPickleError(TOO_MUCH)


def _cost(value: Any) -> int:
    """What visiting or copying a value takes."""
    if isinstance(value, _List):
        return 1
    if isinstance(value, _Node):
        return value.work
    return len(value) + 1 if isinstance(value, (str, bytes)) else 1


def _is_latin(arguments: tuple) -> bool:
    """Text and its encoding, or bytes made of such: what is made of these is no longer."""
    if not arguments:
        return True
    content, *encoding = arguments
    if isinstance(content, str):
        return encoding in (["latin1"], ["latin-1"])
    return isinstance(content, _Node) and content.name == BYTES and not encoding


def _depth(value: Any) -> int:
    return value.depth if isinstance(value, _Node) else 0


def _is_unusual(key: Any) -> bool:
    # Python's hash of a text depends on a secret of the process, and of the numbers below 2^63 only
    # a few share one (it is the rest modulo 2^61 - 1). All else can be made to collide.
    return isinstance(key, _Node) or (isinstance(key, int) and key.bit_length() > 63)


HANDLERS: dict[str, Callable[[_Follower, Any], None]] = {
    "PROTO": lambda self, argument: None,
    "GLOBAL": _Follower.name,
    # To the weights-only reader both are a call with the tuple on top of the stack.
    "NEWOBJ": _Follower.reduce,
    "REDUCE": _Follower.reduce,
    "BUILD": _Follower.build,
    "BINPERSID": _Follower.storage,
    "APPEND": lambda self, argument: self.extend([self.stack.pop()]),
    "APPENDS": lambda self, argument: self.extend(self.popped()),
    "SETITEM": lambda self, argument: self.set_items(self.popped_last(2)),
    "SETITEMS": lambda self, argument: self.set_items(self.popped()),
    "MARK": _Follower.mark,
    "TUPLE": lambda self, argument: self.tuple_of(self.popped()),
    "TUPLE1": lambda self, argument: self.tuple_of(self.popped_last(1)),
    "TUPLE2": lambda self, argument: self.tuple_of(self.popped_last(2)),
    "TUPLE3": lambda self, argument: self.tuple_of(self.popped_last(3)),
    "EMPTY_TUPLE": lambda self, argument: self.tuple_of(()),
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"), _Follower.new_list),
    **dict.fromkeys(("NONE", "NEWFALSE", "NEWTRUE"), _Follower.push),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "BINFLOAT", "LONG1"), _Follower.push),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINSTRING"), _Follower.push),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Follower.get),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Follower.put),
}
"""By opcode, all that torch's weights-only reader knows."""
