"""Sets of routes, and routes given head by head."""

import pytest

from mmmamba.ops import expand_routes, list_route_sets, register_route_set, route_table


@pytest.mark.parametrize("name", list_route_sets())
def test_sets_hold_different_routes_that_exist(name):
    routes = list_route_sets()[name]
    table = route_table(routes, 5, 7)
    assert len({tuple(order) for order in table.tolist()}) == len(routes)


def test_what_the_sets_hold():
    assert list_route_sets()["cross"] == ("row", "column", "row_reversed", "column_reversed")
    assert (
        len(list_route_sets()["omnidirectional"]) == 8 and len(list_route_sets()["continuous"]) == 4
    )


def test_names_sets_and_heads():
    assert expand_routes("hilbert") == (("hilbert",),)
    assert expand_routes(["row", "window14_reversed"]) == (("row", "window14_reversed"),)
    assert expand_routes("bidirectional") == (("row", "row_reversed"),)
    assert expand_routes(("bidirectional", "spiral")) == (("row", "row_reversed", "spiral"),)
    assert expand_routes(("bidirectional", ["hilbert", "radial"])) == (
        ("row", "row_reversed"),
        ("hilbert", "radial"),
    )


def test_what_cannot_be_meant_is_an_error():
    with pytest.raises(KeyError, match="Did you mean 'hilbert'"):
        expand_routes(("hilbrt",))
    with pytest.raises(KeyError, match="Did you mean the set 'omnidirectional'"):
        expand_routes("omnidirectionl")
    for routes in ((), ((),), (("row",), ("row", "column"))):
        with pytest.raises(ValueError, match="all of one length"):
            expand_routes(routes)
    for name in ("cross", "row", "window5"):
        with pytest.raises(ValueError, match="already registered"):
            register_route_set(name, ("row",))
