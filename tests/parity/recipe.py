"""Deterministic weights and images, by which implementations are compared without checkpoints.

A parity case is one JSON file: the state dict an original implementation has (names and shapes),
the input it was given, and what it answered. Weights are never stored: `weights` rebuilds them
from each tensor's name and shape, bit for bit, on any machine.

    case = load_case("vmamba/vmamba_tiny_s1l8.json")
    state = {k: torch.from_numpy(v) for k, v in weights(case["state_dict"]).items()}
    image = torch.from_numpy(pixels(case["input"]))
    ...  # load `state` into the model under test, run it on `image`
    for name, want in case["outputs"].items():
        worst = mismatch(outputs[name].numpy(), want)   # relative to the output's own std
"""

import gzip
import json
import zlib
from math import prod
from pathlib import Path

import numpy as np

SAMPLES = 256


def _noise(key: str, count: int) -> np.ndarray:
    """`count` float64 draws, uniform with mean 0 and variance 1, from Philox's stable stream."""
    bits = np.random.Philox(zlib.crc32(key.encode())).random_raw(count)
    return ((bits >> np.uint64(11)) * 2.0**-53 - 0.5) * 12**0.5


def weight(name: str, shape) -> np.ndarray:
    """The float32 tensor that stands under `name` in a state dict, of scale fit for its role."""
    shape = tuple(shape)
    leaf = name.rsplit(".", 1)[-1]
    noise = _noise(name, prod(shape)).reshape(shape)
    if leaf in ("A_log", "A_logs", "A_b_log"):
        value = np.log(np.arange(1, shape[-1] + 1)) + 0.1 * noise
    elif leaf in ("D", "Ds", "D_b"):
        value = 1 + 0.1 * noise
    elif "dt_proj" in name and "bias" in leaf:
        value = -4 + 0.5 * noise
    elif "base_scale" in name:
        value = 1 + 0.1 * noise
    elif leaf == "running_var":
        value = 1 + 0.25 * np.abs(noise)
    elif leaf in ("pos_embed", "cls_token", "register_tokens") or "relative_position_bias" in leaf:
        value = 0.1 * noise
    elif len(shape) <= 1:
        scaling = leaf == "weight" or leaf.startswith("gamma")
        value = (1 if scaling else 0) + 0.1 * noise
    elif "x_proj" in name or "dt_proj" in name:
        value = noise / shape[-1] ** 0.5
    else:
        value = noise / prod(shape[1:]) ** 0.5
    return value.astype(np.float32)


def weights(manifest: dict) -> dict:
    """`{name: shape}` of a case to `{name: float32 array}`."""
    return {name: weight(name, shape) for name, shape in manifest.items()}


def pixels(spec: dict) -> np.ndarray:
    """The normalised float32 input `(N, 3, H, W)` of a case: `{"shape": ..., "key": ...}`."""
    return _noise(spec["key"], prod(spec["shape"])).reshape(spec["shape"]).astype(np.float32)


def positions(count: int) -> np.ndarray:
    """Where an output of `count` values is sampled (all of it, when it is that small)."""
    if count <= SAMPLES:
        return np.arange(count)
    bits = np.random.Philox(zlib.crc32(b"positions")).random_raw(SAMPLES)
    return np.sort((bits % np.uint64(count)).astype(np.int64))


def summary(output: np.ndarray) -> dict:
    """What a case keeps of an output: its shape, mean, std and `SAMPLES` of its values."""
    flat = np.asarray(output, dtype=np.float64).reshape(-1)
    return {
        "shape": list(np.shape(output)),
        "mean": float(flat.mean()),
        "std": float(flat.std()),
        "samples": [float(f"{v:.7g}") for v in flat[positions(flat.size)]],
    }


def mismatch(output: np.ndarray, want: dict) -> float:
    """The largest difference from the kept samples, in units of the kept std.

    Infinite on a wrong shape or NaN.
    """
    if list(np.shape(output)) != list(want["shape"]):
        return float("inf")
    flat = np.asarray(output, dtype=np.float64).reshape(-1)
    got = flat[positions(flat.size)]
    if not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(got - np.array(want["samples"])).max() / want["std"])


def load_case(path) -> dict:
    return json.loads(
        gzip.decompress((Path(__file__).parent / "cases" / f"{path}.gz").read_bytes())
    )
