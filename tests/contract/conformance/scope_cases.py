"""The order of design §5: who and what is captured, by what it meets.

Where a connection goes is told by its endpoint (`Seen.way`); who answered a query by the
answer: the real resolver knows some mesh names too, with other addresses.
"""

from __future__ import annotations

from collections.abc import Callable

from interceptor.capture.ground import AGENT
from interceptor.lab.removal import NETNS_ETC, wait_until
from tests.contract.conformance import message, question
from tests.contract.conformance.case import Case, Group
from tests.contract.conformance.client import ROOT, Owner
from tests.contract.conformance.connection import Dial
from tests.contract.conformance.question import Socket
from tests.contract.conformance.setting import (
    EXCLUDED_CGROUP,
    EXCLUDED_GID,
    EXCLUDED_PORT,
    EXCLUDED_UID,
    INCLUDED_PORT,
    INCLUDED_UID,
    MARK,
    OTHER_UID,
    SIDECAR_ID,
)
from tests.contract.conformance.stage import Stage
from tests.contract.conformance.world import (
    ENDPOINT,
    FAR_SERVERS,
    ONE,
    POD,
    SECOND_SERVERS,
    SELF_VIP,
    SERVERS,
    STUB,
    UPSTREAM,
    VIPS,
    VM,
    WWW,
)

INCLUDED, OTHER = Owner(INCLUDED_UID, INCLUDED_UID), Owner(OTHER_UID, OTHER_UID)
BEYOND = ("10.77.0.62", "fd77::62")  # next to the included CIDR
EXCLUDED = ("10.77.0.54", "fd77::54")  # a pod's
PASSTHROUGH = ("127.0.0.6", "::6")


def goes(
    stage: Stage, way: str, addresses: tuple[str, ...], port: int = 7000, owner: Owner = ROOT
) -> None:
    """Assert the way of a connection to each of the addresses."""
    for address in addresses:
        seen = stage.dial(address, port, owner)
        assert seen.way == way, f"{address}:{port} {seen}"


def is_answered(stage: Stage, ours: bool, servers: tuple[str, ...], owner: Owner = ROOT) -> None:
    """Assert who answers for `ONE`."""
    for server in servers:
        number = int(":" in server)
        wanted = VIPS[ONE][number] if ours else UPSTREAM[number]
        assert stage.addresses(server, ONE, owner) == [wanted], server


def mesh_addresses(stage: Stage) -> None:
    goes(stage, "sidecar", (*VIPS[ONE], *POD, "192.0.2.94", "2001:db8::94"))
    for server in SERVERS:
        goes(stage, "sidecar", tuple(stage.addresses(server, "auto.mesh.example")))


def others(stage: Stage) -> None:
    stage.assert_at_work()
    goes(stage, "direct", (*ENDPOINT, *BEYOND, "10.88.0.53", "fd88::53"))


def cidrs(stage: Stage) -> None:
    goes(stage, "sidecar", WWW)
    goes(stage, "direct", BEYOND)


def included_port(stage: Stage) -> None:
    goes(stage, "sidecar", ENDPOINT, INCLUDED_PORT)
    goes(stage, "direct", ENDPOINT, 7001)


def excluded_port(stage: Stage) -> None:
    goes(stage, "direct", WWW, EXCLUDED_PORT)
    goes(stage, "sidecar", WWW, 7001)


def excluded_cidr(stage: Stage) -> None:
    stage.assert_at_work()
    goes(stage, "direct", EXCLUDED)
    goes(stage, "direct", EXCLUDED, INCLUDED_PORT)


def loopback(stage: Stage) -> None:
    stage.assert_at_work()
    goes(stage, "direct", ("127.0.0.1", "127.9.9.9", "::1"), INCLUDED_PORT)


def own_address(stage: Stage) -> None:
    stage.assert_at_work()
    goes(stage, "direct", (*VM, "10.88.0.10"), INCLUDED_PORT)


def exempt(owner: Owner) -> Callable[[Stage], None]:
    """That neither DNS nor TCP of somebody is captured."""

    def run(stage: Stage) -> None:
        is_answered(stage, False, (*SERVERS, *FAR_SERVERS), owner)
        goes(stage, "direct", POD, owner=owner)
        address = UPSTREAM[0]
        assert stage.call(_over_tcp, SERVERS[0], owner=owner) == [address]
        is_answered(stage, True, SERVERS)
        goes(stage, "sidecar", POD)

    return run


def sidecar(stage: Stage, uid: int = SIDECAR_ID, gid: int = SIDECAR_ID) -> Owner:
    """A process as the sidecar's: of its user or group, and where the back end looks there, too,
    in its cgroup."""
    return Owner(uid, gid, AGENT if stage.backend == "ebpf" else "")


def exempt_sidecar(uid: int, gid: int) -> Callable[[Stage], None]:
    """The same of the sidecar; with ebpf nobody else who is that user or group is exempt."""

    def run(stage: Stage) -> None:
        exempt(sidecar(stage, uid, gid))(stage)
        if stage.backend == "ebpf":
            elsewhere = Owner(uid, gid)
            is_answered(stage, True, SERVERS, elsewhere)
            goes(stage, "sidecar", POD, owner=elsewhere)

    return run


def _over_tcp(server: str) -> list[str]:
    (reply,) = question.ask_tcp(server, (message.query(ONE),))
    return message.parse(reply).addresses


def marked(stage: Stage) -> None:
    for server, upstream in zip(SERVERS, UPSTREAM, strict=True):
        assert stage.addresses(server, ONE, how=Socket(mark=MARK)) == [upstream]
        assert stage.addresses(server, ONE, how=Socket(mark=MARK + 16)) != [upstream]
    for address in POD:
        assert stage.dial(address, how=Dial(mark=MARK)).way == "direct"
        assert stage.dial(address, how=Dial(mark=MARK + 16)).way == "sidecar"


def included_owner(stage: Stage) -> None:
    is_answered(stage, True, SERVERS, INCLUDED)
    is_answered(stage, False, SERVERS, OTHER)
    is_answered(stage, False, SERVERS)
    goes(stage, "sidecar", POD, owner=INCLUDED)
    goes(stage, "direct", POD, owner=OTHER)
    goes(stage, "direct", POD)


def all_destinations(stage: Stage) -> None:
    goes(stage, "sidecar", (*BEYOND, *ENDPOINT, *POD), owner=INCLUDED)
    goes(stage, "direct", ("127.0.0.1", "::1", *VM), owner=INCLUDED)


def listed_servers(stage: Stage) -> None:
    is_answered(stage, True, SERVERS, INCLUDED)
    is_answered(stage, False, (*FAR_SERVERS, STUB), INCLUDED)
    assert stage.call(_over_tcp, FAR_SERVERS[0], owner=INCLUDED) == [UPSTREAM[0]]
    assert stage.call(_over_tcp, SERVERS[0], owner=INCLUDED) == [VIPS[ONE][0]]


def followed_servers(stage: Stage) -> None:
    file = NETNS_ETC / stage.lab.namespace("vm") / "resolv.conf"
    text = file.read_text()
    is_answered(stage, True, SERVERS)
    is_answered(stage, False, FAR_SERVERS)
    try:
        file.write_text("".join(f"nameserver {server}\n" for server in FAR_SERVERS))
        wait_until(lambda: stage.addresses(FAR_SERVERS[0], ONE) == [VIPS[ONE][0]], "the change", 5)
        is_answered(stage, True, FAR_SERVERS)
        is_answered(stage, False, SERVERS)
    finally:
        file.write_text(text)
    wait_until(lambda: stage.addresses(SERVERS[0], ONE) == [VIPS[ONE][0]], "the change back", 5)


def excluded_interface(stage: Stage) -> None:
    goes(stage, "direct", SECOND_SERVERS)
    goes(stage, "sidecar", VIPS[ONE])


def excluded_interface_dns(stage: Stage) -> None:
    is_answered(stage, False, SECOND_SERVERS)
    is_answered(stage, True, SERVERS)


def inbound(stage: Stage) -> None:
    for address in VM:
        seen = stage.dial(address, 3306, host="peer")
        assert seen.way == "sidecar", seen
        assert seen.caller[0] in PASSTHROUGH
        place = f":{seen.own[1]}"
        wait_until(lambda place=place: stage.is_logged("inbound", place), "the log", 5)  # type: ignore[misc]
        assert stage.dial(address, 8000, host="peer").way == "direct"


def local_inbound(stage: Stage) -> None:
    stage.assert_at_work()
    goes(stage, "direct", (*VM, "127.0.0.1", "::1"), 3306)


def all_inbound(stage: Stage) -> None:
    for address in VM:
        assert stage.dial(address, 8000, host="peer").way == "sidecar"
        assert stage.dial(address, 3306, host="peer").way == "sidecar"


def spared_inbound(stage: Stage) -> None:
    for address in VM:
        assert stage.dial(address, 8000, host="peer").way == "sidecar"
        assert stage.dial(address, 22, host="peer").way == "direct"


def hbone(stage: Stage) -> None:
    for address in VM:
        assert stage.dial(address, 8000, host="peer").way == "sidecar"
        assert stage.dial(address, 15008, host="peer").way == "direct"


def oneself(stage: Stage) -> None:
    for address in SELF_VIP:
        seen = stage.dial(address, 3306)
        assert seen.way == "sidecar", seen
        assert (seen.caller[0], seen.server) == ("127.0.0.6", (VM[0], 3306)), seen
        place = f"{seen.caller[0]}:{seen.caller[1]}"
        wait_until(lambda place=place: stage.is_logged("inbound", place), "the log", 5)  # type: ignore[misc]


def passthrough(stage: Stage) -> None:
    """Sent to inbound again it would go round for ever."""
    owner = sidecar(stage)
    for address, source in zip(VM, PASSTHROUGH, strict=True):
        seen = stage.dial(address, 3306, owner, Dial(source=source))
        assert (seen.way, seen.caller[0]) == ("direct", source), seen


def other_namespace(stage: Stage) -> None:
    stage.assert_at_work()
    is_answered(stage, False, SERVERS, stage.box)
    for address in (*POD, *WWW):
        stage.assert_container_direct(address)
        stage.assert_container_direct(address, INCLUDED_PORT)


MAIN = {
    "mesh addresses and VIPs go to the sidecar": mesh_addresses,
    "other destinations are left alone": others,
    "included CIDRs": cidrs,
    "included outbound port": included_port,
    "excluded outbound port": excluded_port,
    "excluded CIDR": excluded_cidr,
    "loopback": loopback,
    "the VM's own addresses": own_address,
    "excluded user: DNS and TCP": exempt(Owner(EXCLUDED_UID, 100)),
    "excluded group: DNS and TCP": exempt(Owner(100, EXCLUDED_GID)),
    "the sidecar's user: DNS and TCP": exempt_sidecar(SIDECAR_ID, 100),
    "the sidecar's group: DNS and TCP": exempt_sidecar(100, SIDECAR_ID),
    "the agent's mark: DNS and TCP": marked,
    "inbound ports, and others": inbound,
    "inbound ports from the VM itself": local_inbound,
    "a call to oneself goes through inbound": oneself,
    "what comes from inbound's passthrough address": passthrough,
    "another namespace's process in the same cgroup": other_namespace,
}
WIDE = {
    "included user: only theirs": included_owner,
    'outbound "*"': all_destinations,
    "a list of DNS servers": listed_servers,
    'inbound "*"': all_inbound,
    'port 22 under inbound "*"': spared_inbound,
    'HBONE under inbound "*"': hbone,
}
CASES = (
    *(Case(name, Group.SCOPE, run) for name, run in MAIN.items()),
    Case(
        "excluded cgroup: DNS and TCP",
        Group.SCOPE,
        exempt(Owner(cgroup=EXCLUDED_CGROUP)),
        "cgroup",
    ),
    *(Case(name, Group.SCOPE, run, "wide") for name, run in WIDE.items()),
    Case("resolv.conf's DNS servers, as it changes", Group.SCOPE, followed_servers, "away"),
    Case("excluded interface: DNS", Group.SCOPE, excluded_interface_dns, "interface DNS"),
    Case("excluded interface: TCP", Group.SCOPE, excluded_interface, "interface"),
)
