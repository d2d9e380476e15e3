from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from interceptor.mesh import refusal, shape
from interceptor.mesh.field import Note
from interceptor.mesh.refusal import Tree

ADAPTER = TypeAdapter(shape.Service)


def refused(tree: Tree) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        ADAPTER.validate_python(tree)
    return caught.value


def service(**spec: object) -> Tree:
    return {"spec": spec}


@pytest.mark.parametrize(
    ("tree", "note"),
    [
        (service(clusterIP=1), Note("spec.clusterIP", "1", "a string, in quotes")),
        (service(clusterIP=[1]), Note("spec.clusterIP", "[1]", "a string")),
        (service(ports={}), Note("spec.ports", "{}", "a list")),
        (service(ports=[1]), Note("spec.ports[0]", "1", "a mapping")),
        (service(ports=[{"port": True}]), Note("spec.ports[0].port", "True", "a whole number")),
        (service(ports=[{"port": 0}]), Note("spec.ports[0].port", "0", "a port number, 1..65535")),
        (
            service(ports=[{"targetPort": None}]),
            Note("spec.ports[0].targetPort", "None", "a whole number or a string, in quotes"),
        ),
        (
            service(publishNotReadyAddresses="yes"),
            Note("spec.publishNotReadyAddresses", "'yes'", "true or false"),
        ),
        (service(selector={1: "a"}), Note("spec.selector.1", "'a'", "a string, in quotes")),
        ({"spec": []}, Note("spec", "[]", "a mapping")),
    ],
)
def test_a_refusal_names_key_value_and_what_is_legal(tree: Tree, note: Note) -> None:
    assert refusal.notes(refused(tree), tree) == [note]


def test_what_is_mended_is_legal_and_the_rest_is_kept() -> None:
    tree: Tree = service(
        clusterIP=7,
        type="Odd",
        ports=[{"port": 0, "name": "x"}, 1],
        selector={1: "a", "b": 2},
    )
    while True:
        try:
            ADAPTER.validate_python(tree)
            break
        except ValidationError as error:
            refusal.mend(error, tree)
    assert tree == service(clusterIP="7", ports=[{"name": "x"}, {}], selector={"b": "2"})


def test_the_same_place_is_not_told_twice() -> None:
    said = [Note("spec.ports[0]", "1", "a mapping"), Note("spec.resolution", "X", "one of A, B")]
    later = [
        Note("spec.ports[0].name", "(missing)", "a name"),
        Note("spec.ports[1].name", "(missing)", "a name"),
        Note("spec.endpoints[0].address", "x", "an IP address; a name needs resolution DNS"),
        Note("spec.hosts", "(missing)", "at least one host"),
    ]
    assert [note.key for note in refusal.unsaid(later, said)] == [
        "spec.ports[1].name",
        "spec.hosts",
    ]


def test_nulls_are_left_out_at_every_depth() -> None:
    tree = {"a": None, "b": {"c": None, "d": [{"e": None}, None]}}
    assert refusal.without_nulls(tree) == {"b": {"d": [{}, None]}}
