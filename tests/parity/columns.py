"""What a plain column holds inside, by the names that the parity cases use."""

from typing import Any

import torch

from . import harness


def inside(model: torch.nn.Module, spec: dict[str, Any]) -> tuple[Any, dict[str, torch.Tensor]]:
    """A model's output for an input, and what it held on the way.

    Maps `(B, C, H, W)` without extra tokens are hiddenN, streamN and final; cls is the first extra
    token, registers are all of them, vector is what the classifier's last layer reads; sequences
    are `debug.` patch_embed, sequence, mixer_input_0, mixer_N and residual_N.
    """
    hidden, streams, found = [], [], {}

    def on_patches(module, given, out):
        found["debug.patch_embed"] = out.flatten(1, 2)

    def on_tokens(module, given, out):
        found["debug.sequence"] = out[0]

    def on_mixer_input(module, given, out):
        found["debug.mixer_input_0"] = out if isinstance(out, torch.Tensor) else out[0]

    def on_head(module, given):
        found["vector"] = given[0]

    def on_block(module, given, out):
        hidden.append(out[0])
        streams.append(out[1])

    def on_norm(module, given, out):
        streams.append(given[0])
        found["normed"] = out

    # A mixer's own first step, where it has one that its authors do not count among it.
    first = getattr(model.layers[0].mixer, "mlp", model.layers[0].norm)
    handles = [
        model.patch_embed.register_forward_hook(on_patches),
        model.tokens.register_forward_hook(on_tokens),
        first.register_forward_hook(on_mixer_input),
    ]
    handles += [layer.register_forward_hook(on_block) for layer in model.layers]
    if model.is_classifier:
        handles.append(model.norm_f.register_forward_hook(on_norm))
        handles.append(model.head.register_forward_pre_hook(on_head))
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
        extra = layout.cut(normed)[1]
        found |= {
            "final": as_map(normed),
            "cls": extra[:, :1].flatten(1),
            "registers": extra,
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


def check_other_input(case: dict[str, Any], model: torch.nn.Module, which: str, outputs="") -> None:
    """The outputs for the case's input of another size, `odd`, or batch, `pair`; weights loaded."""
    _, found = inside(model, case[f"input_{which}"])
    want = case[f"outputs_{outputs or which}"]
    tolerance = case.get("tolerance_suggested", 1e-4)
    harness.compare({n: found[n] for n in want}, want, tolerance)


def rates(model: torch.nn.Module) -> list[float]:
    """Drop path rates of the blocks and of the end."""
    return [getattr(m.drop_path, "p", 0.0) for m in (*model.layers, model)]


def load(model: torch.nn.Module, case: dict[str, Any]) -> torch.nn.Module:
    model.load_weights(harness.weights(case["state_dict"]))
    return model
