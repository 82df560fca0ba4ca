"""What `MobileMamba.fuse()` gains on a CPU: outputs are equal, then the times side by side.

    python benchmarks/mobilemamba_fuse.py [names …] [--batch 1] [--threads 1] [--rounds 30]

Times are of the processor, which on one thread are those of an idle machine's clock; both forms run
in turn, and the fastest round of each counts.
"""

import sys
import time

import torch
from common import Column, Table, parser, save

import mmmamba

RESOLUTIONS = {
    "mobilemamba_t2": 192,
    "mobilemamba_t4": 192,
    "mobilemamba_s6": 224,
    "mobilemamba_b1": 256,
    "mobilemamba_b2": 384,
    "mobilemamba_b4": 512,
}
TOLERANCE = 1e-4


def settle(model: torch.nn.Module) -> None:
    """Running statistics of the model's own, as after training."""
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.weight.data.uniform_(0.5, 1.5)
            norm.bias.data.normal_(0, 0.1)
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 1.5)


def seconds(model: torch.nn.Module, image: torch.Tensor) -> float:
    start = time.process_time()
    model(image)
    return time.process_time() - start


@torch.inference_mode()
def main() -> None:
    options = parser(__doc__)
    options.add_argument(
        "names", nargs="*", help="of mmmamba.list_backbones('mobilemamba*'); all if none is given"
    )
    options.add_argument("--batch", type=int, default=1)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--rounds", type=int, default=30)
    args = options.parse_args()
    names = args.names or list(RESOLUTIONS)
    for name in names:
        if name not in RESOLUTIONS:
            options.error(f"there is no '{name}'; there are {', '.join(RESOLUTIONS)}")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    table = Table(
        "times",
        f"milliseconds of the processor, batch {args.batch}, fastest of {args.rounds} rounds",
        Column("name", "name"),
        Column("pixels", "side"),
        Column("unfused", "unfused", ".1f"),
        Column("fused", "fused", ".1f"),
        Column("times as fast", "times", ".2f"),
        Column("difference", "difference", ".1e"),
    )
    for name in names:
        table.add(**measure(name, args.batch, args.rounds))
    table.show()
    save(args.out, table)


def measure(name: str, batch: int, rounds: int) -> dict:
    """A row of the table.

    Raises:
        SystemExit: the outputs differ.
    """
    side = RESOLUTIONS[name]
    model = mmmamba.create_backbone(name).eval()
    settle(model)
    fused = model.fuse()
    image = torch.randn(batch, 3, side, side)
    difference = max(
        float((a - b).abs().max() / b.std()) for a, b in zip(fused(image), model(image))
    )
    if not difference <= TOLERANCE:
        sys.exit(
            f"{name}: fused and unfused differ by {difference:.1e} std, wanted {TOLERANCE:.0e}; "
            "nothing timed"
        )
    for _ in range(3):
        model(image), fused(image)
    times = [(seconds(model, image), seconds(fused, image)) for _ in range(rounds)]
    plain, fast = (1e3 * min(column) for column in zip(*times))
    found = dict(unfused=plain, fused=fast, times=plain / fast, difference=difference)
    return dict(name=name, side=side, **found)


if __name__ == "__main__":
    main()
