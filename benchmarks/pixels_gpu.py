"""What a pixel costs on a GPU, from 512 x 512 to 4096 x 4096: nanoseconds a pixel of backbones without gradients.

    MMMAMBA_PARITY_DEVICE=cuda python benchmarks/pixels_gpu.py

bfloat16 autocast, channels-last images. The batch shrinks as images grow, 64 of 512 x 512 down to one of 4096 x 4096,
so that the work is the same wherever cost is linear; a second figure is for one image. First each of ours is held to
its authors' figures in float32 on this device, and at each size maps must be finite; else there are no numbers.
"""

import argparse
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))
import mmmamba  # noqa: E402
from tests.parity import columns, harness, recipe  # noqa: E402

DEVICE = harness.DEVICE
PEERS = {"swin_t": "swin_tiny_patch4_window7_224", "convnext_t": "convnext_tiny"}
PYRAMIDS = {
    "vmamba_t": "vmamba/vmamba_tiny_s1l8.json",
    "mambavision_t": "mambavision/mamba_vision_T.json",
}
OURS = [*PYRAMIDS, "vim_t"]
FLAT = 0.15


def check(name: str) -> None:
    if name == "vim_t":
        columns.check_classifier(
            recipe.load_case("vim/vim_tiny.json"), mmmamba.create_backbone(name, classifier=True)
        )
    else:
        harness.check_maps(recipe.load_case(PYRAMIDS[name]), lambda: mmmamba.create_backbone(name))


def build(name: str, size: int) -> torch.nn.Module:
    if name == "vim_t":
        return mmmamba.create_backbone(name, img_size=size)
    if name not in PEERS:
        return mmmamba.create_backbone(name)
    import timm

    more = dict(img_size=size, strict_img_size=False) if name == "swin_t" else {}
    return timm.create_model(PEERS[name], features_only=True, **more)


def measure(model: torch.nn.Module, batch: int, size: int) -> float:
    """Nanoseconds a pixel; NaN where the card's memory does not suffice."""
    x = torch.randn(batch, 3, size, size, device=DEVICE).to(memory_format=torch.channels_last)

    def infer() -> list[torch.Tensor]:
        with torch.inference_mode(), torch.autocast(DEVICE, torch.bfloat16):
            return model(x)

    try:
        if not all(torch.isfinite(maps).all() for maps in infer()):
            raise FloatingPointError(f"a map at {batch} x {size} x {size} is not finite")
        if DEVICE == "cpu":
            return float("nan")
        from triton.testing import do_bench

        return (
            do_bench(infer, warmup=100, rep=400, return_mode="median") * 1e6 / (batch * size * size)
        )
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        return float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=[*OURS, *PEERS], default=[*OURS, *PEERS])
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024, 2048, 4096])
    parser.add_argument("--pixels", type=int, default=4096**2, help="of a batch")
    args = parser.parse_args()
    for name in args.models:
        if name in OURS:
            check(name)
    print("ours equal their authors' figures on this device")
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU, smoke test"
    batches = {size: max(args.pixels // size**2, 1) for size in args.sizes}
    table = Table(
        "model",
        *(f"{batch} x {size}²" for size, batch in batches.items()),
        "largest / smallest",
        "flat",
        title=f"{device}, torch {torch.__version__}, bfloat16: ns a pixel (of one image)",
    )
    for name in args.models:
        costs, cells = [], []
        for size, batch in batches.items():
            model = build(name, size).eval().to(DEVICE)
            one = measure(model, 1, size)
            costs.append(measure(model, batch, size) if batch > 1 else one)
            cells.append(f"{costs[-1]:.2f} ({one:.2f})")
            del model
        spread = max(costs) / min(costs)
        print(name, *cells, flush=True)
        table.add_row(name, *cells, f"{spread:.2f}", "yes" if spread <= 1 + FLAT else "no")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
