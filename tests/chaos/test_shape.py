"""Two hosts are of one shape only where nothing of ours is left on either."""

from __future__ import annotations

from tests.chaos import shape

BASE = "\t\ttype route hook output priority mangle; policy accept;\n"
MANGLE = f"table ip mangle {{\n\tchain OUTPUT {{\n{BASE}\t}}\n"
MORE = "\n\tchain FOREIGN {\n\t\taccept\n\t}\n"


def left(twin: str, vm: str) -> str:
    def of(text: str) -> dict[str, str]:
        return {shape.NFT: shape.render(shape.parse(text)), "pins": "same"}

    return shape.left(of(""), of(twin), of(vm))


def test_the_order_of_chains_says_nothing() -> None:
    one = MANGLE + MORE + "}\n"
    other = "table ip mangle {\n" + MORE.lstrip("\n") + MANGLE.partition("{\n")[2] + "}\n"
    assert left(one, other) == ""


def test_a_chain_of_ours_that_is_left_is_told_even_when_it_is_empty() -> None:
    ours = MANGLE + "\n\tchain INTERCEPTOR_DNS {\n\t}\n}\n"
    assert "INTERCEPTOR_DNS" in left(MANGLE + "}\n", ours)
    assert "chain OUTPUT" in left("table ip mangle {\n}\n", MANGLE + "}\n")
    assert "table ip mangle" in left("", MANGLE + "}\n")


def test_a_base_chain_that_is_missing_is_told_where_it_did_something() -> None:
    dropping = MANGLE.replace("policy accept", "policy drop") + "}\n"
    assert left(MANGLE + "}\n", "table ip mangle {\n}\n") == ""
    assert "policy drop" in left(dropping, "table ip mangle {\n}\n")
    assert "FOREIGN" in left(MANGLE + MORE + "}\n", MANGLE + "}\n")
