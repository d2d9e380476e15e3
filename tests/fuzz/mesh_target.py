"""What files say of the mesh: YAML and JSON documents, name tables, the VIPs' state file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from interceptor.config import VipRanges
from interceptor.errors import ConfigError
from interceptor.mesh import nametable, parse, vip
from interceptor.mesh.answer import Answers
from interceptor.mesh.build import Inventory
from interceptor.mesh.model import Locale
from interceptor.mesh.table import MeshTable
from interceptor.mesh.vip import Allocation
from tests.fuzz.target import Target

DATA = Path(__file__).parents[1] / "data" / "mesh"
RANGES = VipRanges()
TYPES = ("A", "AAAA", "SRV", "PTR", "ANY")


def use(table: MeshTable) -> None:
    """All that a table is asked for: answers, exports."""
    told = Answers.build(table.hosts.values(), Locale("vm", search=("corp.test",)))
    for name in list(table.hosts)[:20]:
        for kind in TYPES:
            told.resolve(name, kind)
        told.resolve(f"x.{name}", "A")
    for each in table.hosts.values():
        str(each)
    for warning in table.warnings:
        str(warning)


def run_documents(data: bytes) -> None:
    try:
        parsed = parse.parse(data, "/etc/mesh/one.yaml")
    except ConfigError as error:
        assert error.problems
        assert all(problem.where == "/etc/mesh/one.yaml" for problem in error.problems)
        str(error)
        return
    inventory = Inventory("vm", "cluster.local", Allocation(RANGES))
    inventory.replace("/etc/mesh/one.yaml", parsed.pieces)
    table, _ = inventory.build()
    use(table)
    again = parse.parse(data, "/etc/mesh/one.yaml", parsed.pieces)
    assert again.pieces == parsed.pieces, "read anew it says something else"


def documents() -> Iterable[bytes]:
    for path in sorted(DATA.iterdir()):
        yield path.read_bytes()
        if path.suffix == ".yaml":
            yield from path.read_bytes().split(b"\n---\n")


def run_nametable(data: bytes) -> None:
    try:
        table = nametable.parse(data, "/etc/mesh/table.json")
    except ConfigError as error:
        assert error.problems
        str(error)
        return
    use(table)


def nametables() -> Iterable[bytes]:
    one = {"ips": ["10.0.0.1", "fd00::1"], "registry": "Kubernetes", "shortname": "reviews",
           "namespace": "bookinfo", "altHosts": ["reviews.test"]}  # fmt: skip
    other = {"ips": ["240.240.0.1"], "registry": "External", "alt_hosts": ["*.x.test"]}
    yield json.dumps({"table": {"reviews.bookinfo.svc.cluster.local": one}}).encode()
    yield json.dumps({"table": {"*.wild.test": other, "db.test": {"ips": []}}}).encode()
    yield b'{"table": {}}'
    yield b"{}"


def run_state(data: bytes) -> None:
    try:
        found = vip.decode(data, RANGES)
    except ValueError:
        return
    # Any number is a slot of nobody's, or an address within the ranges.
    for name in [*found.slots, "new.test"]:
        found.allocate(name)
        for address in found.addresses(name):
            assert address in (RANGES.ipv4 if address.version == 4 else RANGES.ipv6)
    every = [address for name in found.slots for address in found.addresses(name)]
    assert len(set(every)) == len(every), "two hosts have one address"
    vip.decode(vip.encode(found), RANGES)


def states() -> Iterable[bytes]:
    allocation = Allocation(RANGES)
    for name in ("a.test", "b.test", "c.test"):
        allocation.allocate(name)
    allocation.release("b.test")
    yield vip.encode(allocation)
    yield vip.encode(Allocation(RANGES))


TARGETS = {
    "documents": Target(run_documents, documents, ("interceptor.mesh",)),
    "nametable": Target(run_nametable, nametables, ("interceptor.mesh",)),
    "state": Target(run_state, states, ("interceptor.mesh.vip",)),
}
