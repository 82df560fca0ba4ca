"""Pickle programs that are small and want more time, memory or depth than there is."""

from __future__ import annotations

import struct

from ..checkpoints.pickle_programs import attribute, mapping, name, text

MARK = "it_ran"
"""The folder that one makes which runs."""
NOTHING = b"N"
ORDERED = name("collections", "OrderedDict")
MODULE = name("ultralytics.nn.tasks", "DetectionModel")


def number(value: int) -> bytes:
    """A number of any size."""
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def kept(program: bytes, place: int) -> bytes:
    """Makes a value, which `again` puts on the stack once more."""
    return program + b"r" + struct.pack("<I", place)


def again(place: int) -> bytes:
    return b"j" + struct.pack("<I", place)


def pairs(levels: int) -> bytes:
    """A pair of the pair before, twice: 2^levels paths."""
    return b")" + b"".join(kept(b"", level) + again(level) + b"\x86" for level in range(levels))


def as_key(key: bytes) -> bytes:
    return b"}" + key + NOTHING + b"s"


def called(function: bytes, *arguments: bytes) -> bytes:
    return function + b"(" + b"".join(arguments) + b"tR"


def listed(*items: bytes) -> bytes:
    return b"](" + b"".join(items) + b"e"


def doubled_by_a_codec(times: int) -> bytes:
    encode, program = name("_codecs", "encode"), text("ab")
    return encode * times + program + (text("hex") + b"\x86R") * times


def encoded_again_and_again(size: int, times: int) -> bytes:
    one = called(name("_codecs", "encode"), again(0), text("latin1"))
    return listed(kept(text("x" * size), 0), *[one] * times)


def copied_again_and_again(function: bytes, entries: int, times: int) -> bytes:
    return listed(
        kept(listed(*(number(n) for n in range(entries))), 0), *[called(function, again(0))] * times
    )


def keys_of_one_hash(number_of_keys: int) -> bytes:
    """Python's hash of a number is its rest modulo 2^61 - 1."""
    keys = b"".join(number((2**61 - 1) * n) + NOTHING for n in range(1, number_of_keys + 1))
    return b"}(" + keys + b"u"


def storage(numel: int, key: str = "0", kind: str = "FloatStorage") -> bytes:
    return (
        b"("
        + text("storage")
        + name("torch", kind)
        + text(key)
        + text("cpu")
        + number(numel)
        + b"tQ"
    )


def tensor(
    numel: int, size: int, stride: int = 1, offset: int = 0, kind: str = "FloatStorage"
) -> bytes:
    """A tensor of so many elements, in a storage that claims so many."""
    sizes, strides = number(size) + b"\x85", number(stride) + b"\x85"
    hooks = ORDERED + b")R"
    return called(
        name("torch._utils", "_rebuild_tensor_v2"),
        storage(numel, kind=kind),
        number(offset),
        sizes,
        strides,
        b"\x89",
        hooks,
    )


def module(parameters: bytes = b"}", children: bytes = b"}") -> bytes:
    """A pickled `nn.Module` of the program that Mamba YOLO's users run."""
    return (
        MODULE + b")\x81" + mapping(_parameters=parameters, _buffers=b"}", _modules=children) + b"b"
    )


def modules_shared(levels: int, parameters: bytes = b"}") -> bytes:
    """Each level holds the one below it twice."""
    program = module(parameters)
    for level in range(levels):
        children = b"}" + text("a") + kept(program, level) + b"s" + text("b") + again(level) + b"s"
        program = module(children=children)
    return program


def module_in_itself() -> bytes:
    made = kept(MODULE + b")\x81", 7)
    return made + mapping(_parameters=b"}", _buffers=b"}", _modules=mapping(a=again(7))) + b"b"


PROGRAMS = {
    "pairs of pairs as a key": as_key(pairs(64)),
    "pairs of pairs in a set": called(name("builtins", "set"), listed(pairs(64))),
    "pairs of pairs in a Counter": called(name("collections", "Counter"), listed(pairs(64))),
    "pairs of pairs under Python 2's name of set": called(
        name("__builtin__", "set"), listed(pairs(64))
    ),
    "a million tuples in one another as a key": as_key(b")" + b"\x85" * 1_000_000),
    "100,000 lists in one another": b"]" * 100_000 + b"a" * 99_999,
    "100,000 dicts in one another": (b"}" + text("a")) * 100_000 + NOTHING + b"s" * 100_000,
    "a list in itself": kept(b"]", 0) + again(0) + b"a",
    "100,000 keys of one hash": keys_of_one_hash(100_000),
    "a text doubled 40 times by a codec": doubled_by_a_codec(40),
    "a text encoded 100,000 times": encoded_again_and_again(1_000_000, 100_000),
    "a set made 100,000 times": copied_again_and_again(name("builtins", "set"), 100_000, 100_000),
    "a hundred thousand million bytes": called(name("builtins", "bytearray"), number(10**11)),
    "modules shared twice a level": modules_shared(64),
    "modules with a weight shared twice a level": modules_shared(40, mapping(w=tensor(4, 4))),
    "a module in itself": module_in_itself(),
    "a shared weight that claims to be huge": module(
        mapping(w=tensor(8, 10**11, 0, kind="HalfStorage"))
    ),
    "a tensor larger than its storage": tensor(4, 10**9),
    "a storage larger than the file": tensor(10**9, 10**9),
    "a tensor before its storage": tensor(4, 4, offset=-4),
    "a tensor of negative size": tensor(4, -4),
    "a tensor of negative stride": tensor(4, 4, -1),
    "a nested tensor by its parts": called(
        name("torch._utils", "_rebuild_nested_tensor"), *[tensor(4, 4)] * 4
    ),
    "getattr of builtins": attribute(attribute(name("builtins", "getattr"), "__self__"), "__dict__")
    + text("MMMAMBA_PWNED")
    + b"Ns",
    "os.mkdir": called(name("os", "mkdir"), text(MARK)),
    "an unknown opcode": b"\xff",
    "an empty stack": b"0" * 9,
}
