"""Names that files choose do nothing to a terminal."""

import pytest

from mmmamba.printable import LONGEST, printable, printable_names


@pytest.mark.parametrize(
    "name, shown",
    [
        ("layers.0.blocks.1.op.A_logs", "layers.0.blocks.1.op.A_logs"),
        ("Gewicht für 重み", "Gewicht für 重み"),
        ("\x1b[2J\x1b[31mok", r"\x1b[2J\x1b[31mok"),
        ("a\nerror: none", r"a\nerror: none"),
        ("a\rb\x00\x7f\x9b", r"a\rb\x00\x7f\x9b"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("half of a \ud800 pair", r"half of a \ud800 pair"),
        (7, "7"),
    ],
)
def test_what_is_not_text_is_spelled_out(name, shown):
    assert printable(name) == shown and printable(name).isprintable()


def test_long_names_and_long_lists_are_cut():
    assert printable("x" * 5000) == "x" * LONGEST + "… (5,000 characters)"
    assert printable_names([f"a{i}" for i in range(3)], 2) == "a0, a1 … (3 in all)"
    assert len(printable_names({"y" * 5000: 0, "\x1b": 1})) < 200
