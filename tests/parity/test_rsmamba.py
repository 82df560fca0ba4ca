"""RSMamba computes what its authors computed, with the shuffles of the figures."""

from functools import partial

import pytest
import torch

import mmmamba
from mmmamba.models.backbones import RSMamba

from . import harness, recipe

CASES = {
    "rsmamba/rsmamba_b": dict(arch="rsmamba_b"),
    "rsmamba/rsmamba_b_rect": dict(arch="rsmamba_b", img_size=(98, 163)),
    "rsmamba/rsmamba_b_gate": dict(
        arch="rsmamba_b", img_size=(80, 96), path_type="forward_reverse_gate"
    ),
    "rsmamba/rsmamba_b_mean": dict(
        arch="rsmamba_b", img_size=(80, 96), path_type="forward_reverse_mean"
    ),
    "rsmamba/rsmamba_l": dict(arch="rsmamba_l", img_size=96),
}
SLOW = tuple(name for name in CASES if not name.endswith("_gate"))


def loaded(case, **arguments):
    """A backbone of the case's weights, its shuffles those of the figures, in float64."""
    model = RSMamba(**arguments).eval()
    model.load_weights(harness.weights(case["state_dict"]))
    for i, layer in enumerate(model.layers):
        layer._shuffled = partial(shuffled, i)
    return model


def shuffled(i: int, token_L: torch.Tensor) -> torch.Tensor:
    order = recipe._noise(f"shuffle.{i}", len(token_L)).argsort(kind="stable")
    return torch.from_numpy(order).to(token_L.device)


@pytest.mark.parametrize("case, arguments", harness.cases(CASES, SLOW))
def test_classifier_and_maps(case, arguments):
    case = recipe.load_case(f"{case}.json")
    model = loaded(case, **arguments, classifier=True, num_classes=45)
    tolerance = harness.exactly(model, case)
    beside = sum(p.numel() for p in model.head.parameters())
    assert sum(p.numel() for p in model.parameters()) == case["parameters"] + beside
    pooled = []
    hook = model.ln2.register_forward_hook(lambda module, args, out: pooled.append(out))
    logits = harness.run(model, case["input"])
    hook.remove()
    found = dict(pooled=pooled[0], logits=logits)
    harness.compare(found, {name: case["outputs"][name] for name in found}, tolerance)
    dense = loaded(case, **arguments)
    harness.exactly(dense, case)
    for n in range(3):
        # Only the last map is normalised in the original.
        setattr(dense, dense._out_norm(n), torch.nn.Identity())
    maps = dict(zip(("feat0", "feat1", "feat2", "feat3"), harness.run(dense, case["input"])))
    harness.compare(maps, {name: case["outputs"][name] for name in maps}, tolerance)


def test_shuffles_are_fixed_in_evaluation_unless_that_is_asked_for():
    image = torch.randn(1, 3, 48, 64)
    for shuffle in ("fixed", "drawn"):
        torch.manual_seed(0)
        model = RSMamba(**RSMamba.TINY, shuffle=shuffle).eval()
        with torch.no_grad():
            once, again = model(image)[-1], model(image)[-1]
        assert torch.equal(once, again) == (shuffle == "fixed")
        # In training both draw, as PyTorch's seed says.
        draws = []
        for seed in (1, 2, 1):
            torch.manual_seed(seed)
            draws.append(model.train()(image)[-1])
        assert torch.equal(draws[0], draws[2]) and not torch.equal(draws[0], draws[1])


def test_fixed_shuffles_are_permutations_of_their_own():
    model = RSMamba(**RSMamba.TINY).eval()
    other = RSMamba(**RSMamba.TINY, shuffle_seed=1).eval()
    orders = [layer.order(784, torch.device("cpu"))[2] for layer in (*model.layers, *other.layers)]
    token = torch.arange(784)
    for order in orders:
        assert torch.equal(order.sort().values, token)
        # Neighbours are no neighbours any more, and nothing stays where it was.
        assert (order.diff().abs() < 4).sum() < 30 and (order == token).sum() < 10
    assert not torch.equal(orders[0], orders[1]) and torch.equal(orders[1], orders[4])


def test_norms_and_start():
    model = RSMamba(**RSMamba.TINY, classifier=True)
    assert all(m.eps == 1e-6 for m in model.modules() if isinstance(m, torch.nn.LayerNorm))
    published = RSMamba(**RSMamba.TINY, dt_start="linear")
    step = torch.nn.functional.softplus
    # Mamba's step sizes start within 0.001 and 0.1, those of a linear layer around 0.7.
    assert step(model.layers[0].dt_proj.bias).max() < 0.11
    assert step(published.layers[0].dt_proj.bias).min() > 0.3


def test_published_names_of_a_whole_classifier():
    case = recipe.load_case("rsmamba/rsmamba_b_gate.json")
    state = harness.weights(case["state_dict"])
    file = {
        name if name.startswith("head.") else f"backbone.{name}": v for name, v in state.items()
    }
    arguments = CASES["rsmamba/rsmamba_b_gate"]
    for classifier in (False, True):
        model = RSMamba(**arguments, classifier=classifier, num_classes=45)
        model.load_weights({"state_dict": file, "meta": {}})
        assert torch.equal(model.layers[5].gate.weight, state["gate_layers.5.0.weight"])


@pytest.mark.parametrize("name", mmmamba.list_backbones("rsmamba_*"))
def test_sizes(name):
    with torch.device("meta"):
        model = mmmamba.create_backbone(name, classifier=True, num_classes=45)
    wanted = dict(
        rsmamba_s=4_359_789, rsmamba_b=6_385_773, rsmamba_l=16_252_717, rsmamba_h=33_060_845
    )
    assert sum(p.numel() for p in model.parameters()) == wanted[name]
