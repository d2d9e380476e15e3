from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from interceptor.mesh import merge
from interceptor.mesh.model import Kind, Resolution
from interceptor.mesh.resource import Service, ServiceEntry, Slice

ENTRY = ServiceEntry(
    namespace="n",
    origin="ServiceEntry n/a (f.yaml)",
    hosts=("a.example",),
    addresses=(),
    networks=(),
    ports=(),
    targets=(),
    resolution=Resolution.STATIC,
    mesh_external=False,
    endpoints=(),
    selector=None,
    export_to=(),
    wants_address=True,
)
SERVICE = Service(
    "s", "n", "Service n/s (f.yaml)", Kind.SERVICE, (), (), (), (), (), "", publish_not_ready=False
)


def test_a_service_beats_service_entries_and_they_are_told() -> None:
    found, warnings = merge.choose([ENTRY, SERVICE], "vm")
    assert found == [SERVICE]
    (problem,) = warnings
    assert (problem.where, problem.document) == ("f.yaml", "ServiceEntry n/a")
    assert problem.legal == "a host that nobody else has: Service n/s (f.yaml) counts"


def test_the_viewers_namespace_comes_first() -> None:
    other = replace(ENTRY, namespace="vm", origin="ServiceEntry vm/z (f.yaml)")
    assert merge.choose([ENTRY, other], "vm")[0] == [other, ENTRY]
    assert merge.choose([other, ENTRY], "n")[0] == [ENTRY, other]


def test_a_document_in_two_files_counts_once_as_in_the_last() -> None:
    later = replace(ENTRY, origin="ServiceEntry n/a (g.yaml)")
    found, (problem,) = merge.choose([later, ENTRY], "vm")
    assert found == [later]
    assert (problem.where, problem.legal) == ("f.yaml", "each document once: that of g.yaml counts")


@pytest.mark.parametrize(
    ("claims", "name", "wanted"),
    [
        ([], "a.example", False),
        ([ENTRY], "a.example", True),
        ([ENTRY], "*.example", False),
        ([replace(ENTRY, addresses=(IPv4Address("10.0.0.1"),))], "a.example", False),
        ([replace(ENTRY, resolution=Resolution.NONE)], "a.example", False),
        ([replace(ENTRY, resolution=Resolution.DNS)], "a.example", True),
        ([replace(ENTRY, wants_address=False)], "a.example", False),
        ([SERVICE], "s.n.svc.cluster.local", True),
        ([replace(SERVICE, kind=Kind.HEADLESS)], "s.n.svc.cluster.local", False),
        ([replace(SERVICE, kind=Kind.EXTERNAL_NAME)], "s.n.svc.cluster.local", False),
    ],
)
def test_who_gets_a_vip(claims: list[merge.Claim], name: str, wanted: bool) -> None:
    assert merge.wants_vip(claims, name) is wanted


def test_slices_are_in_order_and_the_last_files_count() -> None:
    def part(name: str, file: str) -> Slice:
        return Slice(name, "n", f"EndpointSlice n/{name} ({file})", "s", False, ())

    found = merge.last_of_each([part("b", "f"), part("a", "g"), part("a", "f")])
    assert [(one.name, one.origin[-2]) for one in found] == [("a", "g"), ("b", "f")]
