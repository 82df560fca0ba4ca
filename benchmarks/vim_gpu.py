"""Vim-T beside timm's DeiT-T on large images: time and peak memory (Zhu et al. 2024, figure 1).

    MMMAMBA_PARITY_DEVICE=cuda python benchmarks/vim_gpu.py

Inference, float16, 1248 x 1248, batch 8: whole classifiers, DeiT with attention as matrices and
with PyTorch's fused (flash) attention. First Vim-T is held to its authors' figures in float32 on
this device, and each half precision output to the same model's float32 output; a model that misses
either gets no numbers.
"""

import sys
from collections.abc import Callable

import torch
from common import NAN, Column, Table, median_ms, parser, peak_gib, save
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import mmmamba
from tests.parity import columns, harness, recipe

DEVICE = harness.DEVICE
TOLERANCE = 0.05


def vim(size: int) -> nn.Module:
    return mmmamba.create_backbone("vim_t", classifier=True, img_size=size)


def deit(size: int, fused: bool) -> nn.Module:
    import timm

    model = timm.create_model("deit_tiny_patch16_224", img_size=size)
    for block in model.blocks:
        block.attn.fused_attn = fused
    return model


MODELS: dict[str, Callable[[int], nn.Module]] = {
    "DeiT-T, plain attention": lambda size: deit(size, fused=False),
    "DeiT-T, fused attention": lambda size: deit(size, fused=True),
    "Vim-T": vim,
}


def infer(model: nn.Module, x: Tensor, cast: bool) -> Tensor:
    """Logits; `cast` runs a float32 model under autocast."""
    half = cast or x.dtype == torch.float16
    backend = SDPBackend.FLASH_ATTENTION if half and DEVICE == "cuda" else SDPBackend.MATH
    with (
        torch.inference_mode(),
        sdpa_kernel(backend),
        torch.autocast(DEVICE, torch.float16, enabled=cast),
    ):
        return model(x)


def error(model: nn.Module, x: Tensor, cast: bool, reference: Tensor) -> float:
    """How far logits are off, in standard deviations of the float32 ones; NaN is infinite."""
    got = infer(model, x, cast).float()
    wrong = (got - reference).abs().max() / reference.std()
    return float(wrong) if torch.isfinite(got).all() else float("inf")


def measure(model: nn.Module, x: Tensor, cast: bool) -> tuple[float, float]:
    """Milliseconds and GiB at the peak, weights and images included."""
    torch.cuda.empty_cache()
    infer(model, x, cast)
    torch.cuda.reset_peak_memory_stats()
    infer(model, x, cast)
    memory = peak_gib()
    return median_ms(lambda: infer(model, x, cast), warmup=500, rep=2000), memory


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--size", type=int, default=1248)
    options.add_argument("--batch", type=int, default=8)
    args = options.parse_args()
    columns.check_classifier(
        recipe.load_case("vim/vim_tiny.json"), mmmamba.create_backbone("vim_t", classifier=True)
    )
    print("Vim-T equals its authors' figures on this device")
    table = Table(
        "inference",
        f"{args.batch} x {args.size} x {args.size}, inference",
        Column("precision", "precision"),
        Column("model", "model"),
        Column("error, std", "error", ".4f"),
        Column("ms", "ms", ".1f"),
        Column("GiB", "gib", ".2f"),
        Column("plain / this, time", "times", ".2f"),
        Column("memory saved", "saved", ".1%"),
    )
    missed = False
    for cast in (True, False):
        plain = None
        for name, build in MODELS.items():
            torch.manual_seed(0)
            model = build(args.size).eval().to(DEVICE)
            x = torch.randn(args.batch, 3, args.size, args.size, device=DEVICE)
            # The reference by images, because plain attention in float32 fills a GPU.
            reference = torch.cat([infer(model, image, False) for image in x.split(1)])
            if not cast:
                model, x = model.half(), x.half()
            wrong = error(model, x, cast, reference)
            ok = wrong < TOLERANCE
            missed |= not ok
            spent, memory = measure(model, x, cast) if ok and DEVICE == "cuda" else (NAN, NAN)
            plain = plain or (spent, memory)
            table.add(
                precision="autocast" if cast else "float16 weights",
                model=name,
                error=wrong,
                ms=spent,
                gib=memory,
                times=plain[0] / spent,
                saved=1 - memory / plain[1],
            )
            del model, x, reference
    table.show()
    save(args.out, table)
    sys.exit(missed)


if __name__ == "__main__":
    main()
