"""The mesh's own faults."""

from __future__ import annotations

from interceptor.debug.doctor import mesh
from interceptor.debug.doctor.check import State
from interceptor.debug.doctor.fact import Ailment, Facts


def states(facts: Facts) -> dict[str, State]:
    return {each.name: each.state for each in mesh.decide(facts) if each.state is not State.OK}


def test_documents_that_are_refused_are_a_fault_missing_ones_a_warning() -> None:
    assert not states(Facts(mesh_hosts=3))
    refused = Facts(mesh_hosts=3, mesh_problems=("a.yaml: spec.hosts: ...",))
    assert states(refused) == {"documents": State.FAULT}
    missing = ("config: mesh.files: /x: readable: No such file or directory",)
    assert states(Facts(mesh_problems=missing)) == {"documents": State.WARNING}
    assert states(Facts()) == {"documents": State.WARNING}
    assert states(Facts(mesh_hosts=3, mesh_warnings=("no VIP left",))) == {"warning": State.NOTE}


def test_many_calls_with_one_cause_are_one_line_with_a_command_to_go_on() -> None:
    ailments = tuple(
        Ailment(f"a{n}.example:80", "no-endpoint", "nobody serves it", "add one", "x")
        for n in range(6)
    )
    (found,) = (each for each in mesh.decide(Facts(mesh_hosts=9, ailments=ailments)) if each.why)
    assert (found.name, found.state, found.why) == (
        "no-endpoint",
        State.WARNING,
        "nobody serves it",
    )
    assert found.seen.endswith("a3.example:80 and 2 more")
    assert found.cure == "add one; interceptor explain tcp a0.example:80"


def test_what_somebody_has_configured_is_a_note() -> None:
    ailment = Ailment("a.example:22", "excluded-port", "port 22 is excluded")
    assert states(Facts(mesh_hosts=1, ailments=(ailment,))) == {"excluded-port": State.NOTE}
