"""What reading a pickle takes is known before it is read; files of honest programs pass."""

from __future__ import annotations

import io
import time
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub

from mmmamba.checkpoints.pickle_bounds import (
    FREE_WORK,
    MOST_DEPTH,
    RefusedPickleError,
    check_pickle,
    check_pickles,
)

from ..attacks import programs as p
from .pickle_programs import archive, mapping, name, text

TOO_MUCH = {
    "a key": p.as_key(p.pairs(64)),
    "a key far from the first": mapping(a=p.as_key(text("b"))) + p.as_key(p.pairs(64)),
    "a set": p.called(name("builtins", "set"), p.listed(p.pairs(64))),
    "Python 2's set": p.called(name("__builtin__", "set"), p.listed(p.pairs(64))),
    "a Counter": p.called(name("collections", "Counter"), p.listed(p.pairs(64))),
    "tuples in one another": p.as_key(b")" + b"\x85" * (MOST_DEPTH + 2)),
    "lists in one another": b"]" * (MOST_DEPTH + 2) + b"a" * (MOST_DEPTH + 1),
    "keys of one hash": p.keys_of_one_hash(2_000),
    "tuples as keys": b"}(" + b"".join(p.number(n) + b"\x85N" for n in range(2_000)) + b"u",
    "a codec": p.doubled_by_a_codec(3),
    "a text encoded often": p.encoded_again_and_again(100_000, 1_000),
    "a set copied often": p.copied_again_and_again(name("builtins", "set"), 10_000, 10_000),
    "an OrderedDict copied often": p.copied_again_and_again(p.ORDERED, 10_000, 10_000),
    "many bytes": p.called(name("builtins", "bytearray"), p.number(10**11)),
    "many bytes for a tensor": p.called(
        name("torch._tensor", "_rebuild_from_type_v2"),
        name("builtins", "bytearray"),
        name("torch", "Tensor"),
        p.number(10**11) + b"\x85",
        b"}",
    ),
    "a nested tensor": p.called(name("torch._utils", "_rebuild_nested_tensor"), p.tensor(4, 4)),
}


@pytest.mark.parametrize("program", TOO_MUCH.values(), ids=list(TOO_MUCH))
def test_what_would_take_too_much_is_refused_in_time(program: bytes, tmp_path: Path) -> None:
    path = archive(tmp_path / "file.pth", mapping(x=program), checked=False)
    begin = time.perf_counter()
    with pytest.raises(RefusedPickleError, match="^it"):
        check_pickles(path)
    assert time.perf_counter() - begin < 5


def test_files_of_the_old_format_are_looked_at(tmp_path: Path) -> None:
    path, buffer = tmp_path / "file.pth", io.BytesIO()
    torch.save({}, buffer, _use_new_zipfile_serialization=False)
    content = buffer.getvalue()
    program = b"\x80\x02" + TOO_MUCH["a key"] + b"."
    assert content.count(b"\x80\x02}q\x00.") == 1
    for hostile in (content.replace(b"\x80\x02}q\x00.", program), program, content[:30] + program):
        path.write_bytes(hostile)
        with pytest.raises((RefusedPickleError, ValueError)):
            check_pickles(path)


def run() -> dict:
    """What a run saves, and more than that of each kind."""
    hub = MessageHub("test_pickle_bounds")
    for step in range(300):
        hub.update_scalar("train/loss", 1.5 / (step + 1))
    model = torch.nn.Sequential(*[torch.nn.Linear(3, 3) for _ in range(30)])
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(1, 3)).sum().backward()
    optimizer.step()
    return dict(
        state_dict=model.state_dict(),
        optimizer=optimizer.state_dict(),
        message_hub=hub.state_dict(),
        random=np.random.RandomState(3).get_state(),
        large=np.zeros(FREE_WORK // 4),
        python=__import__("random").getstate(),
        raw=bytes(range(256)) * 8000,
        array=bytearray(b"abc"),
        parameter=torch.nn.Parameter(torch.zeros(2)),
        half=torch.zeros(2).half(),
        sets=[{"a", "b"}, {1, 2, 3}],
        counts=Counter(abc=2),
        ordered=OrderedDict((f"a{n}", n) for n in range(5000)),
        pairs={(n, "a"): n for n in range(300)},
        numbers={n: 2**62 + n for n in range(5000)},
        texts=["x" * 50_000] * 1000,
        deep=nested(MOST_DEPTH // 2),
    )


def nested(levels: int) -> object:
    return dict(a=[nested(levels - 2)]) if levels > 0 else "end"


@pytest.mark.parametrize("zipped", [True, False])
def test_honest_files_pass(zipped: bool, tmp_path: Path) -> None:
    torch.save(run(), tmp_path / "file.pth", _use_new_zipfile_serialization=zipped)
    check_pickles(tmp_path / "file.pth")


def test_a_small_number_is_returned() -> None:
    assert check_pickle(io.BytesIO(b"\x80\x02K\x07.")) == 7
