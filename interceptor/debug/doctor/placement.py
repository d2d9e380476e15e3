"""Ports, the sidecar's program, room on disk, the clock, and the daemon that runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from interceptor.config import Config
from interceptor.debug.doctor.check import Check, Group, State
from interceptor.debug.doctor.fact import Facts
from interceptor.host.occupant import Occupant

ROOM_BYTES = 64 << 20
EPOCH_YEAR = 2026  # a clock before it has not been set
HOLDERS = {"envoy", "interceptor", "pilot-agent", "python", "python3"}


def decide(facts: Facts, config: Config) -> Iterator[Check]:
    """All of it."""
    yield from _ports(facts, config)
    yield from _sidecar(facts, config)
    yield from _rooms(facts)
    yield _clock(facts)
    yield from _agent(facts)


def ports(config: Config) -> dict[int, str]:
    """The ports that have to be free, or ours, each with its key in the configuration."""
    found = {int(config.agent.listen.rpartition(":")[2]): "agent.listen"}
    if config.dns.enabled:
        found[config.dns.tcp_port] = "dns.tcp_port"
    if config.sidecar.mode == "managed":
        side = config.sidecar
        found |= {
            side.outbound_port: "sidecar.outbound_port",
            side.inbound_port: "sidecar.inbound_port",
            side.admin_port: "sidecar.admin_port",
            side.readiness_port: "sidecar.readiness_port",
            side.prometheus_port: "sidecar.prometheus_port",
        }
    return found


def _ports(facts: Facts, config: Config) -> Iterator[Check]:
    wanted = ports(config)
    taken = {
        each.port: each
        for each in facts.net.occupants
        if each.protocol == "tcp" and each.port in wanted
    }
    running = facts.status is not None
    strangers = {port: each for port, each in taken.items() if not (running and _may_be_ours(each))}
    for port, each in sorted(strangers.items()):
        why = "the daemon or Envoy cannot listen there"
        cure = f"{wanted[port]}, or end that program (ss -ltnp sport = :{port})"
        name = f"port {port}"
        seen = f"{wanted[port]} is taken by {who(each)}"
        yield Check(Group.PORTS, name, State.FAULT, seen, why, cure)
    if not strangers:
        seen = "ours" if taken else "free"
        listed = ", ".join(map(str, sorted(wanted)))
        yield Check(Group.PORTS, "ports", State.OK, f"{listed} are {seen}")
    if config.sidecar.mode == "external":
        yield _external(facts, config)


def _external(facts: Facts, config: Config) -> Check:
    port = config.sidecar.outbound_port
    there = [each for each in facts.net.occupants if (each.protocol, each.port) == ("tcp", port)]
    if there:
        return Check(Group.SIDECAR, "external sidecar", State.OK, f"{who(there[0])} on {port}")
    why = "captured connections are refused"
    if config.agent.on_sidecar_loss == "bypass":
        why = "connections go past it meanwhile"
    seen, cure = f"nobody listens on {port}", "start it, or sidecar.mode: managed"
    return Check(Group.SIDECAR, "external sidecar", State.FAULT, seen, why, cure)


def _may_be_ours(one: Occupant) -> bool:
    return not one.comm or one.comm in HOLDERS or one.comm.startswith("wrk:")


def who(one: Occupant) -> str:
    """A process in a few words."""
    if one.pid:
        return f"{one.comm} (pid {one.pid}, uid {one.uid})"
    return f"a process of uid {one.uid}"


def _sidecar(facts: Facts, config: Config) -> Iterator[Check]:
    if config.sidecar.mode != "managed":
        return
    one = facts.envoy
    if one.error:
        why = "captured connections have nowhere to go"
        cure = "apt install interceptor-envoy, sidecar.binary, or sidecar.mode: external"
        yield Check(Group.SIDECAR, "Envoy", State.FAULT, one.error, why, cure)
    elif not one.version:
        why = "it did not say its version; it may be for another system"
        yield Check(Group.SIDECAR, "Envoy", State.WARNING, one.path, why, f"{one.path} --version")
    else:
        yield Check(Group.SIDECAR, "Envoy", State.OK, f"{one.version} at {one.path}")


def _rooms(facts: Facts) -> Iterator[Check]:
    for room in facts.rooms:
        seen = f"{room.path}: {room.free >> 20} MiB free"
        if 0 <= room.free < ROOM_BYTES:
            why = "the last good mesh, allocated VIPs or the journal cannot be written"
            yield Check(
                Group.AGENT, room.key, State.WARNING, seen, why, f"make room, or {room.key}"
            )
        elif room.free >= 0:
            yield Check(Group.AGENT, room.key, State.OK, seen)


def _clock(facts: Facts) -> Check:
    if 0 < facts.year < EPOCH_YEAR:
        why = "certificates of the mesh look as if they were of the future"
        seen, cure = f"it is {facts.year}", "timedatectl set-ntp true"
        return Check(Group.AGENT, "clock", State.WARNING, seen, why, cure)
    if facts.synchronised is False:
        why = "logs of two hosts do not fit together, and certificates may look out of date"
        seen, cure = f"it is {facts.year}, and nobody keeps it right", "timedatectl set-ntp true"
        return Check(Group.AGENT, "clock", State.NOTE, seen, why, cure)
    return Check(Group.AGENT, "clock", State.OK, f"it is {facts.year}")


def _agent(facts: Facts) -> Iterator[Check]:
    status = facts.status
    if status is None:
        why = facts.status_error
        cure = "systemctl start interceptor, or interceptor run"
        yield Check(Group.AGENT, "daemon", State.NOTE, "does not run", why, cure)
        return
    seen = f"pid {status.get('pid')}, {status.get('backend')}, up {status.get('uptime_s')} s"
    if not status.get("ready"):
        why, cure = str(status.get("why", "")), "interceptor status; journalctl -u interceptor"
        yield Check(Group.AGENT, "daemon", State.FAULT, f"{seen}, not ready", why, cure)
    else:
        yield Check(Group.AGENT, "daemon", State.OK, seen)
    if status.get("drift"):
        why = "somebody removes our rules"
        seen = "; ".join(map(str, _list(status, "neighbours"))) or "rules differ from the plan"
        yield Check(Group.AGENT, "drift", State.WARNING, seen, why, "interceptor plan --diff")
    table = status.get("table")
    if isinstance(table, Mapping) and table.get("held"):
        seen = f"{table.get('held')}; the last good one is {table.get('good_age_s')} s old"
        why = "the mesh is shown as it was"
        yield Check(Group.AGENT, "stale table", State.WARNING, seen, why, "interceptor mesh check")
    for line in _list(status, "reload_refused"):
        why, cure = "the daemon goes on with what it had", "interceptor config check"
        yield Check(Group.AGENT, "reload", State.WARNING, str(line), why, cure)
    identity = status.get("identity")
    if isinstance(identity, Mapping) and identity:
        yield from _identity(identity)


def _identity(identity: Mapping[str, object]) -> Iterator[Check]:
    """Whether this VM can prove who it is."""
    why = "without a certificate members of the mesh take no calls of this VM, nor it of theirs"
    cure = "interceptor status: identity; a token or the clock is what mostly is wrong"
    for line in _list(identity, "alarms"):
        yield Check(Group.AGENT, "identity", State.WARNING, str(line), why, cure)
    if not identity.get("alarms"):
        seen = f"{identity.get('who')} until {identity.get('not_after', 'a first one is there')}"
        yield Check(Group.AGENT, "identity", State.OK, seen)


def _list(status: Mapping[str, object], key: str) -> list[object]:
    found = status.get(key)
    return list(found) if isinstance(found, list | tuple) else []
