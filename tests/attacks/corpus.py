"""Hostile checkpoints, each written by a function: nothing of them is kept in the repository.

Most are the checkpoint of a real run with one thing changed, so that nothing else shuts a door.
"""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..checkpoints.pickle_programs import archive, mapping
from . import programs as p

ALL = (
    "infer",
    "test",
    "train --resume PATH",
    "train --resume",
    "load_from",
    "init_cfg",
    "create_backbone",
)
PATH, AUTO = "train --resume PATH", "train --resume"
"""A work dir whose only file holds weights alone is one where nothing is to be resumed."""
RESUMING = (PATH, AUTO)
WHOLE = ("infer", "test", "train --resume PATH", "train --resume", "load_from")
"""Those that take a whole detector."""
ESCAPES = "\x1b]0;owned\x07\x1b[2J\nerror: all is well"


@dataclass(frozen=True)
class Attack:
    """A file, and the doors that have to refuse it; the others may take it."""

    write: Callable[[Path, dict[str, Any]], object]
    refused: tuple[str, ...] = ALL


def _written(program: bytes) -> Attack:
    """Beside the parts of a run's checkpoint, which are empty."""
    whole = mapping(state_dict=b"}", meta=b"}", message_hub=b"}", optimizer=b"}", x=program)

    def write(path: Path, good: dict[str, Any]) -> None:
        archive(path, whole, checked=False)
        with zipfile.ZipFile(path, "a") as file:
            file.writestr(file.namelist()[0].split("/")[0] + "/data/0", bytes(16))

    return Attack(write)


def _changed(change: Callable[[dict[str, Any]], object], refused: tuple[str, ...] = ALL) -> Attack:
    """A run's checkpoint, changed in place or replaced by what the change returns."""

    def write(path: Path, good: dict[str, Any]) -> None:
        held = deepcopy(good)
        replaced = change(held)
        torch.save(held if replaced is None else replaced, path)

    return Attack(write, refused)


class Runs:
    """Makes a folder when unpickled."""

    def __reduce__(self):
        return os.mkdir, (p.MARK,)


def _legacy(path: Path, good: dict[str, Any], content: bytes) -> None:
    buffer = io.BytesIO()
    torch.save({}, buffer, _use_new_zipfile_serialization=False)
    empty = b"\x80\x02}q\x00."
    path.write_bytes(buffer.getvalue().replace(empty, b"\x80\x02" + content + b".", 1))


def _rezipped(
    path: Path, good: dict[str, Any], change: Callable[[str, bytes], tuple[str, bytes]], **options
) -> None:
    buffer = io.BytesIO()
    torch.save(good, buffer)
    with zipfile.ZipFile(buffer) as whole, zipfile.ZipFile(path, "w", **options) as out:
        for entry in whole.namelist():
            out.writestr(*change(entry, whole.read(entry)))


def _bytes(path: Path, good: dict[str, Any], change: Callable[[bytes], bytes]) -> None:
    buffer = io.BytesIO()
    torch.save(good, buffer)
    path.write_bytes(change(buffer.getvalue()))


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def _tar(path: Path, good: dict[str, Any]) -> None:
    with tarfile.open(path, "w") as tar:
        for entry in ("storages", "tensors", "pickle"):
            tar.addfile(tarfile.TarInfo(entry))


def _torchscript(path: Path, good: dict[str, Any]) -> None:
    _rezipped(
        path, good, lambda entry, content: (entry.replace("byteorder", "constants.pkl"), content)
    )


def _safetensors(
    header: dict[str, Any] | bytes, content: bytes = bytes(16), claimed: int | None = None
) -> Attack:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = struct.pack("<Q", len(raw) if claimed is None else claimed)
    return Attack(lambda path, good: path.write_bytes(length + raw + content))


def _own(name: str, dtype: torch.dtype) -> Callable[[Path, dict[str, Any]], None]:
    """The run's weights as safetensors, one of them in another type or under another name."""

    def write(path: Path, good: dict[str, Any]) -> None:
        state = {key: tensor.clone() for key, tensor in good["state_dict"].items()}
        first = _first(good)
        state[name or first] = state.pop(first).to(dtype)
        save_file(state, path)

    return write


SPAN = dict(dtype="F32", shape=[4], data_offsets=[0, 16])
FILES = {
    "an empty file": Attack(lambda path, good: path.write_bytes(b"")),
    "a page": Attack(lambda path, good: path.write_text("<!DOCTYPE html><title>log in</title>")),
    "two letters": Attack(lambda path, good: path.write_bytes(b"PK")),
    "noise": Attack(lambda path, good: path.write_bytes(bytes(range(1, 256)) * 40)),
    "a tar archive": Attack(_tar),
    "a TorchScript program": Attack(_torchscript),
    "a compressed archive": Attack(
        lambda path, good: _rezipped(
            path, good, lambda *entry: entry, compression=zipfile.ZIP_DEFLATED
        )
    ),
    "an archive without content": Attack(
        lambda path, good: _rezipped(
            path, good, lambda entry, content: (entry.replace("data.pkl", "x"), content)
        )
    ),
    "an archive that leads out of itself": Attack(
        lambda path, good: _rezipped(path, good, lambda entry, content: (f"../{entry}", content))
    ),
    "half a file": Attack(
        lambda path, good: _bytes(path, good, lambda content: content[: len(content) // 2])
    ),
    "a flipped bit": Attack(lambda path, good: _bytes(path, good, _flipped)),
    "a dangling link": Attack(lambda path, good: path.symlink_to("nowhere.pth")),
    "a link to itself": Attack(lambda path, good: path.symlink_to(path.name)),
    "a link to an endless device": Attack(lambda path, good: path.symlink_to("/dev/zero")),
    "a folder": Attack(lambda path, good: path.mkdir()),
    "a pipe": Attack(lambda path, good: os.mkfifo(path)),
    "a pickle that runs": Attack(lambda path, good: torch.save({**good, "x": Runs()}, path)),
    "a pickle that runs in the old format": Attack(
        lambda path, good: torch.save(
            {**good, "x": Runs()}, path, _use_new_zipfile_serialization=False
        )
    ),
    "pairs of pairs in the old format": Attack(
        lambda path, good: _legacy(path, good, p.as_key(p.pairs(64)))
    ),
    "pairs of pairs without a format": Attack(
        lambda path, good: path.write_bytes(b"\x80\x02" + p.as_key(p.pairs(64)) + b".")
    ),
    "safetensors with an endless header": _safetensors({"w": SPAN}, claimed=1 << 62),
    "safetensors with a header of no JSON": _safetensors(b"{" * 1000),
    "safetensors with a header of brackets": _safetensors(b'{"w":' + b"[" * 100_000),
    "safetensors that reach beyond the file": _safetensors(
        {"w": {**SPAN, "data_offsets": [0, 1 << 40]}}
    ),
    "safetensors that overlap": _safetensors({"w": SPAN, "v": SPAN}),
    "safetensors of an unknown type": _safetensors({"w": {**SPAN, "dtype": "F1"}}),
    "safetensors with a weight in 8 bits": Attack(_own("", torch.float8_e4m3fn)),
    "safetensors with a complex weight": Attack(_own("", torch.complex64)),
    "safetensors with a name that a terminal obeys": Attack(_own(ESCAPES, torch.float32)),
}


def _first(held: dict[str, Any]) -> str:
    """A weight of the backbone with two axes or more, so that every door looks at it."""
    state = held["state_dict"]
    return next(
        key
        for key, t in state.items()
        if key.startswith("backbone.") and t.dim() == 2 and t.numel() > 8
    )


def _weight(change: Callable[[Tensor], Any]) -> Attack:
    def replace(held: dict[str, Any]) -> None:
        first = _first(held)
        held["state_dict"][first] = change(held["state_dict"][first])

    return _changed(replace)


def _hidden(weight: Tensor) -> nn.Parameter:
    """NaN in a parameter whose restored attributes hide how that could be seen."""
    hidden = nn.Parameter(weight * torch.nan)
    hidden.is_floating_point = hidden.isfinite = hidden.isnan = "hidden"
    return hidden


def _state(change: Callable[[dict], Any], refused: tuple[str, ...] = ALL) -> Attack:
    """The state dict, changed in place or replaced."""

    def replace(held: dict[str, Any]) -> None:
        changed = change(held["state_dict"])
        held["state_dict"] = held["state_dict"] if changed is None else changed

    return _changed(replace, refused)


def _without_head(state: dict) -> dict:
    return {key: tensor for key, tensor in state.items() if "bbox_head" not in key}


WEIGHTS = {
    "NaN": _weight(lambda w: w * torch.nan),
    "infinity": _weight(lambda w: w + torch.inf),
    "numbers beyond float32": _weight(lambda w: w.double() + 1e300),
    "complex numbers": _weight(lambda w: w + 1j),
    "integers": _weight(lambda w: w.to(torch.int8)),
    "truth values": _weight(lambda w: w > 0),
    "8 bits of floating point": _weight(lambda w: w.to(torch.float8_e5m2)),
    "a sparse weight": _weight(lambda w: w.to_sparse()),
    "a sparse weight in rows": _weight(lambda w: w.to_sparse_csr()),
    "a quantized weight": _weight(lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8)),
    "a quantized weight by channels": _weight(
        lambda w: torch.quantize_per_channel(
            w, torch.ones(len(w)), torch.zeros(len(w), dtype=torch.long), 0, torch.qint8
        )
    ),
    "a weight on meta": _weight(lambda w: w.to("meta")),
    "a nested weight": _weight(lambda w: torch.nested.nested_tensor(list(w))),
    "NaN behind attributes": _weight(_hidden),
    "a weight of another shape": _weight(lambda w: w[:-1]),
    "one number spread over a huge shape": _weight(lambda w: torch.zeros(1).expand(10**11)),
    "a weight that is a text": _weight(lambda w: "weight"),
    "no weights": _state(lambda state: {}),
    "no head": _state(_without_head, WHOLE),
    "renamed weights": _state(lambda state: {f"x{key}": tensor for key, tensor in state.items()}),
    "weights in a list": _state(lambda state: list(state.values())),
    "a text in place of the weights": _state(lambda state: "weights"),
    "a number in place of the weights": _state(lambda state: 7),
    "weights under numbers": _state(lambda state: dict(enumerate(state.values()))),
    "a weight under nothing": _state(lambda state: state.update({None: torch.zeros(1)}), WHOLE),
    "a weight under a pair": _state(
        lambda state: state.update({("a", "b"): torch.zeros(1)}), WHOLE
    ),
    "one weight too many": _state(lambda state: state.update({"backbone.extra": torch.zeros(1)})),
    "a name that a terminal obeys": _state(
        lambda state: state.update({f"backbone.{ESCAPES}": torch.zeros(1)})
    ),
    "a name of 5,000 letters": _state(
        lambda state: state.update({"backbone." + "n" * 5000: torch.zeros(1)})
    ),
    "100,000 names": _state(
        lambda state: state.update(
            dict.fromkeys(
                [f"backbone.layers.0.blocks.{n}.x" for n in range(100_000)], torch.zeros(1)
            )
        )
    ),
    "a lone tensor": _changed(lambda held: torch.zeros(3)),
    "a lone list": _changed(lambda held: [held]),
    "nothing": _changed(lambda held: {}, tuple(door for door in ALL if door != AUTO)),
}


def _part(
    key: str, change: Callable[[Any], Any] | Any, refused: tuple[str, ...] = RESUMING
) -> Attack:
    """A part of the run's checkpoint changed by a function, or replaced by another value."""

    def replace(held: dict[str, Any]) -> None:
        changed = change(held[key]) if callable(change) else change
        held[key] = held[key] if changed is None else changed

    return _changed(replace, refused)


def _moment(change: Callable[[Tensor], Any]) -> Attack:
    def replace(optimizer: dict[str, Any]) -> None:
        first = next(iter(optimizer["state"].values()))
        first["exp_avg"] = change(first["exp_avg"])

    return _part("optimizer", replace)


def _info(key: str, value: Any, refused: tuple[str, ...] = RESUMING) -> Attack:
    return _part("message_hub", lambda hub: hub["runtime_info"].update({key: value}), refused)


STATE = {
    "no meta": _changed(lambda held: held.pop("meta") and None, (PATH,)),
    "meta that is a text": _part("meta", "meta"),
    "meta that is a list": _part("meta", [1, 2]),
    "meta without an iteration": _part("meta", lambda meta: meta.pop("iter") and None),
    **{
        f"an iteration of {value!r}": _part(
            "meta", lambda meta, value=value: meta.update(iter=value)
        )
        for value in ("ten", -3, 1.5, float("nan"), [1], 10**30)
    },
    "an epoch of 'ten'": _part("meta", lambda meta: meta.update(epoch="ten")),
    "a seed of 'ten'": _part("meta", lambda meta: meta.update(seed="ten")),
    "classes that are a number": _part(
        "meta", lambda meta: meta.update(dataset_meta=dict(classes=7)), ("infer",)
    ),
    "one class too many": _part(
        "meta", lambda meta: meta.update(dataset_meta=dict(classes=["a"] * 99)), ("infer",)
    ),
    "a data set's meta that is a text": _part(
        "meta", lambda meta: meta.update(dataset_meta="coco"), ("infer",)
    ),
    "a palette of texts": _part(
        "meta", lambda meta: meta["dataset_meta"].update(palette=["a"] * 9), ("infer",)
    ),
    "no message hub": _changed(lambda held: held.pop("message_hub") and None, (PATH,)),
    "a message hub that is a list": _part("message_hub", [1]),
    "a message hub without its parts": _part("message_hub", lambda hub: hub.clear()),
    "information that is a list": _part("message_hub", lambda hub: hub.update(runtime_info=[1])),
    "logs that are a list": _part("message_hub", lambda hub: hub.update(log_scalars=[1])),
    "loose state that is a text": _info("loose_state", "state"),
    "loose state that is a number": _info("loose_state", 7),
    "loose state that is no JSON": _info("loose_state", ["{"]),
    "loose state of brackets": _info("loose_state", ["[" * 100_000]),
    "loose state that is a list": _info("loose_state", ["[1]"]),
    "kept checkpoints that are a number": _info("keep_ckpt_ids", 7, ()),
    "a best score that is a text": _info("best_score", "best", ()),
    "no optimizer": _changed(lambda held: held.pop("optimizer") and None, (PATH,)),
    "an optimizer that is a list": _part("optimizer", [1]),
    "an optimizer without groups": _part(
        "optimizer", lambda optimizer: optimizer.pop("param_groups") and None
    ),
    "a moment of another shape": _moment(lambda m: m[..., :1].clone()),
    "a moment of one number": _moment(lambda m: torch.zeros(1).expand(m.shape)),
    "a moment that is a text": _moment(lambda m: "moment"),
    "a moment of NaN": _moment(lambda m: m * torch.nan),
    "a moment in integers": _moment(lambda m: m.to(torch.int64)),
    "a moment on meta": _moment(lambda m: m.to("meta")),
    "a sparse moment": _moment(lambda m: m.to_sparse()),
    "schedules that are a text": _part("param_schedulers", "schedules"),
    "schedules that are numbers": _part("param_schedulers", [1, 2, 3]),
}

ATTACKS = {
    **{title: _written(program) for title, program in p.PROGRAMS.items()},
    **FILES,
    **WEIGHTS,
    **STATE,
}
