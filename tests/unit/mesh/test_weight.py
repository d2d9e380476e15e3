from __future__ import annotations

import pytest
import yaml

from interceptor.errors import ConfigError
from interceptor.mesh import parse
from interceptor.mesh.weight import measure


def weight(text: str) -> float:
    return measure(yaml.compose(text, Loader=yaml.CSafeLoader))


def bomb(levels: int) -> str:
    """A document of 2 to the power of ``levels`` values, in as many lines."""
    return "a0: &a0 [x]\n" + "".join(
        f"a{level}: &a{level} [*a{level - 1}, *a{level - 1}]\n" for level in range(1, levels)
    )


def test_without_aliases_each_value_and_key_counts_once() -> None:
    assert weight("a: 1") == 3
    assert weight("[1, [2, 3]]") == 5
    assert weight("a: {b: [c]}") == 6


def test_an_alias_counts_as_a_copy() -> None:
    assert weight("[&x [1, 2], *x, *x]") == 1 + 3 * 3
    assert weight(bomb(64)) > 2**64


def test_what_holds_itself_has_no_end() -> None:
    assert weight("&a [*a]") == float("inf")
    assert weight("a: &a {b: {c: *a}}") == float("inf")


def test_a_deep_document_is_measured_without_recursion() -> None:
    assert weight("[" * 900 + "]" * 900) == 900


@pytest.mark.parametrize(
    "text",
    [
        bomb(40) + "apiVersion: v1\nkind: Service\nmetadata: {name: x, labels: *a39}\n",
        bomb(40) + "kind: List\nitems: *a39\n",
        "kind: List\nitems: &a [*a]\n",
        "a0: &a0 {x: 1}\n"
        + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40)),
    ],
)
def test_a_document_of_copies_is_refused_before_anybody_walks_it(text: str) -> None:
    with pytest.raises(ConfigError, match="aliases"):
        parse.parse(text.encode(), "mesh.yaml")


def test_honest_anchors_are_fine() -> None:
    text = (
        "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: &l {app: a}}\n"
        "spec: {clusterIP: 10.0.0.1, ports: [{port: 80}], selector: {<<: *l}}\n"
    )
    assert len(parse.parse(text.encode(), "mesh.yaml").pieces) == 1
