"""Draw routes as pictures.

python tools/draw_routes.py hilbert window7 omnidirectional --size 14 20 --out pictures
"""

import sys
from functools import partial
from pathlib import Path

from mmmamba.commands.guard import guarded
from mmmamba.commands.parser import Parser
from mmmamba.ops import expand_routes, list_route_sets, list_routes
from mmmamba.visualization import draw_routes


def main(argv: list[str] | None = None) -> int:
    return guarded(partial(_draw, sys.argv[1:] if argv is None else argv))


def _draw(argv: list[str]) -> int:
    parser = Parser(description="Draw routes, one PNG for each name.")
    parser.add_argument(
        "names",
        nargs="*",
        help="routes, their reverses or sets of routes; all that there are if none",
    )
    parser.add_argument(
        "--size", nargs=2, type=int, default=(7, 10), metavar=("H", "W"), help="of the map (7 10)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("routes"), metavar="DIR", help="for the pictures (routes)"
    )
    args = parser.parse_args(argv)
    try:
        pictures = {
            name: expand_routes(name)[0]
            for name in args.names or [*list_routes(), *list_route_sets()]
        }
    except KeyError as error:
        parser.error(error.args[0])
    if min(args.size) < 1:
        parser.error(f"--size is {args.size[0]} {args.size[1]}, wanted at least 1 1")
    args.out.mkdir(parents=True, exist_ok=True)
    for name, routes in pictures.items():
        draw_routes(routes, *args.size, args.out / f"{name}.png")
    print(f"{len(pictures)} pictures in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
