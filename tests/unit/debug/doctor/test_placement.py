"""Ports, Envoy, room, clock, daemon."""

from __future__ import annotations

from collections.abc import Mapping

from interceptor import config
from interceptor.debug.doctor import placement
from interceptor.debug.doctor.check import Check, State
from interceptor.debug.doctor.fact import Envoy, Facts, Net, Room
from interceptor.host.occupant import Occupant

GOOD: dict[str, object] = {"ready": True, "pid": 9, "backend": "ebpf", "uptime_s": 3}


def judge(
    text: str = "",
    occupants: tuple[Occupant, ...] = (),
    status: Mapping[str, object] | None = GOOD,
    **more: object,
) -> dict[str, Check]:
    fields: dict[str, object] = {
        "net": Net(occupants=occupants),
        "envoy": Envoy("/usr/bin/envoy", "1.33.0"),
        "year": 2026,
        "status": status,
        **more,
    }
    facts = Facts(**fields)  # type: ignore[arg-type]
    return {each.name: each for each in placement.decide(facts, config.parse(text))}


def states(found: dict[str, Check]) -> dict[str, State]:
    return {name: each.state for name, each in found.items() if each.state is not State.OK}


def taken(port: int, comm: str = "nginx", protocol: str = "tcp") -> Occupant:
    return Occupant(protocol, "0.0.0.0", port, 33, 1, 77, comm)


def test_a_daemon_at_work_is_right() -> None:
    assert not states(judge(occupants=(taken(15001, "envoy"), taken(15020, "interceptor"))))


def test_a_port_that_is_taken_names_who_has_it_and_the_key_to_change() -> None:
    found = judge(occupants=(taken(15006), taken(80), taken(15001, protocol="udp")))
    assert states(found) == {"port 15006": State.FAULT}
    check = found["port 15006"]
    assert check.seen == "sidecar.inbound_port is taken by nginx (pid 77, uid 33)"
    assert "sport = :15006" in check.cure


def test_without_a_daemon_even_an_envoy_on_our_port_is_a_stranger() -> None:
    found = judge(occupants=(taken(15001, "envoy"),), status=None)
    assert states(found) == {"port 15001": State.FAULT, "daemon": State.NOTE}


def test_ports_that_the_configuration_moved_are_looked_at_where_they_are() -> None:
    text = "sidecar: {outbound_port: 25001}"
    assert not states(judge(text, (taken(15001),)))
    assert states(judge(text, (taken(25001),))) == {"port 25001": State.FAULT}


def test_somebody_else_s_sidecar_has_to_listen() -> None:
    text = "sidecar: {mode: external}"
    assert states(judge(text)) == {"external sidecar": State.FAULT}
    assert not states(judge(text, (taken(15001, "pilot-agent"),)))


def test_an_envoy_that_is_missing_is_a_fault_unless_nobody_wants_one() -> None:
    none = Envoy(error="none: needs envoy on PATH")
    assert states(judge(envoy=none)) == {"Envoy": State.FAULT}
    assert not states(judge("sidecar: {mode: none}", envoy=none))
    assert states(judge(envoy=Envoy("/usr/bin/envoy"))) == {"Envoy": State.WARNING}


def test_a_full_disk_and_a_clock_of_the_past_are_warnings() -> None:
    room = Room("mesh.state_dir", "/var/lib/interceptor", 1 << 20)
    found = states(judge(rooms=(room,), year=1970))
    assert found == {"mesh.state_dir": State.WARNING, "clock": State.WARNING}


def test_a_clock_that_nobody_keeps_right_is_a_note() -> None:
    assert states(judge(synchronised=False)) == {"clock": State.NOTE}
    assert not states(judge(synchronised=True))


def test_what_the_daemon_complains_of_is_passed_on() -> None:
    status = {
        **GOOD,
        "ready": False,
        "why": "the sidecar is hung",
        "drift": True,
        "neighbours": ["firewalld: x"],
        "table": {"held": "the folder is gone", "good_age_s": 12},
        "reload_refused": ["capture.backend"],
    }
    found = judge(status=status)
    assert states(found) == {
        "daemon": State.FAULT,
        "drift": State.WARNING,
        "stale table": State.WARNING,
        "reload": State.WARNING,
    }
    assert found["daemon"].why == "the sidecar is hung"
    assert found["drift"].seen == "firewalld: x"


def test_a_certificate_that_is_not_replaced_is_told() -> None:
    status: dict[str, object] = {"ready": True, "identity": {"who": "spiffe://a", "alarms": []}}
    assert judge(status=status)["identity"].state is State.OK
    status["identity"] = {"alarms": ["the certificate ended at noon"]}
    found = judge(status=status)["identity"]
    assert (found.state, found.seen) == (State.WARNING, "the certificate ended at noon")
    assert "identity" not in judge(status={"ready": True, "identity": {}})
