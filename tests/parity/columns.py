"""What a plain column holds inside, by the names that the parity cases use."""

from typing import Any

import torch

from . import harness


def inside(model: torch.nn.Module, spec: dict[str, Any]) -> tuple[Any, dict[str, torch.Tensor]]:
    """A model's output for an input, and what it held on the way.

    Maps `(B, C, H, W)` without extra tokens are hiddenN, streamN, final and cls; sequences are
    `debug.` patch_embed, mixer_N and residual_N.
    """
    hidden, streams, found = [], [], {}

    def on_patches(module, given, out):
        found["debug.patch_embed"] = out.flatten(1, 2)

    def on_block(module, given, out):
        hidden.append(out[0])
        streams.append(out[1])

    def on_norm(module, given, out):
        streams.append(given[0])
        found["normed"] = out

    handles = [model.patch_embed.register_forward_hook(on_patches)]
    handles += [layer.register_forward_hook(on_block) for layer in model.layers]
    if model.is_classifier:
        handles.append(model.norm_f.register_forward_hook(on_norm))
    output = harness.run(model, spec)
    for handle in handles:
        handle.remove()
    layout = model.tokens.layout(*model.patch_embed.grid_size(*spec["shape"][2:]))

    def as_map(sequence):
        return layout.cut(sequence)[0].transpose(1, 2).unflatten(2, (layout.height, layout.width))

    for i, (mixed, stream) in enumerate(zip(hidden, streams)):
        found |= {
            f"debug.mixer_{i}": mixed,
            f"debug.residual_{i}": stream,
            f"hidden{i}": as_map(mixed),
        }
    found |= {f"stream{i}": as_map(stream) for i, stream in enumerate(streams[1:])}
    if model.is_classifier:
        normed = found.pop("normed")
        found |= {
            "final": as_map(normed),
            "cls": layout.cut(normed)[1][:, :1].flatten(1),
            "logits": output,
        }
    return output, found


def check_inside(case: dict[str, Any], found: dict[str, torch.Tensor], names=None) -> None:
    """The case's `debug` figures, and of its outputs those named."""
    tolerance = case.get("tolerance_suggested", 1e-4)
    harness.compare({n: found[f"debug.{n}"] for n in case["debug"]}, case["debug"], tolerance)
    outputs = {n: case["outputs"][n] for n in names or ()}
    harness.compare({n: found[n] for n in outputs}, outputs, tolerance)


def check_classifier(case: dict[str, Any], model: torch.nn.Module) -> None:
    """A case whose weights are a classifier's: logits, class token and everything inside."""
    assert sum(value.numel() for value in model.parameters()) == case["parameters"]
    model.load_weights(harness.weights(case["state_dict"]))
    _, found = inside(model, case["input"])
    check_inside(case, found, case["outputs"])


def rates(model: torch.nn.Module) -> list[float]:
    """Drop path rates of the blocks and of the end."""
    return [getattr(m.drop_path, "p", 0.0) for m in (*model.layers, model)]


def load(model: torch.nn.Module, case: dict[str, Any]) -> torch.nn.Module:
    model.load_weights(harness.weights(case["state_dict"]))
    return model
