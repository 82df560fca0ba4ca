"""What a pixel costs on a GPU, from 512 x 512 to 4096 x 4096, without gradients.

    MMMAMBA_PARITY_DEVICE=cuda python benchmarks/pixels_gpu.py

bfloat16 autocast, channels-last images. The batch shrinks as images grow, 64 of 512 x 512 down to
one of 4096 x 4096, so that the work is the same wherever cost is linear; a second figure is for one
image. First each of ours is held to its authors' figures in float32 on this device, and at each
size maps must be finite; else there are no numbers.
"""

import torch
from common import NAN, Column, Table, median_ms, parser, save
from peers import PEERS, timm_peer

import mmmamba
from tests.parity import columns, harness, recipe

DEVICE = harness.DEVICE
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
    if name in PEERS:
        return timm_peer(name, (size, size))
    return mmmamba.create_backbone(name, **(dict(img_size=size) if name == "vim_t" else {}))


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
            return NAN
        return median_ms(infer, warmup=100, rep=400) * 1e6 / (batch * size * size)
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        return NAN


def main() -> None:
    options = parser(__doc__)
    options.add_argument(
        "--models", nargs="+", choices=[*OURS, *PEERS], default=[*OURS, "swin_t", "convnext_t"]
    )
    options.add_argument("--sizes", type=int, nargs="+", default=[512, 1024, 2048, 4096])
    options.add_argument("--pixels", type=int, default=4096**2, help="of a batch")
    args = options.parse_args()
    for name in args.models:
        if name in OURS:
            check(name)
    print("ours equal their authors' figures on this device")
    table = Table(
        "pixels",
        "bfloat16, nanoseconds a pixel; flat: within 15 % over the sizes",
        Column("model", "model"),
        Column("side", "side"),
        Column("batch", "batch"),
        Column("a pixel", "ns", ".2f"),
        Column("of one image", "ns_of_one", ".2f"),
        Column("largest / smallest", "spread", ".2f"),
        Column("flat", "flat"),
    )
    for name in args.models:
        costs = []
        for size in args.sizes:
            batch = max(args.pixels // size**2, 1)
            model = build(name, size).eval().to(DEVICE)
            one = measure(model, 1, size)
            costs.append(measure(model, batch, size) if batch > 1 else one)
            table.add(model=name, side=size, batch=batch, ns=costs[-1], ns_of_one=one)
            print(table.rows[-1], flush=True)
            del model
        spread = max(costs) / min(costs)
        table.rows[-1] |= dict(spread=spread, flat=spread <= 1 + FLAT)
    table.show()
    save(args.out, table)


if __name__ == "__main__":
    main()
