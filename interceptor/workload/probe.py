"""One look at whether this VM's service is fit: by http, https, tcp, exec or grpc."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from interceptor.config.membership import Exec, Grpc, HttpGet, Probe, TcpSocket
from interceptor.host import bounded, passing
from interceptor.host.command import TIMED_OUT
from interceptor.workload import httpget
from interceptor.workload.outcome import Outcome

GRPC_CHECK = "/grpc.health.v1.Health/Check"
SERVING = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
"""grpc.health.v1.HealthCheckResponse.ServingStatus."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a probe goes that names no host. ``mark`` is on its sockets, so that rules let
    them pass."""

    host: str
    mark: int


async def observe(probe: Probe, place: Place) -> Outcome:
    """What became of it, after at most ``probe.timeout_s`` (and half a second where a program has
    to be killed)."""
    if probe.exec is not None:
        return await _exec(probe.exec, probe.timeout_s)
    try:
        async with asyncio.timeout(probe.timeout_s):
            return await _ask(probe, place)
    except TimeoutError:
        return Outcome(False, f"no answer in {probe.timeout_s:g} s")


async def _ask(probe: Probe, place: Place) -> Outcome:
    if probe.http is not None:
        connect = partial(passing.connect, mark=place.mark)
        return await httpget.observe(url(probe.http, place), probe.http.headers, connect)
    if probe.tcp is not None:
        return await _tcp(probe.tcp, place)
    if probe.grpc is not None:
        return await _grpc(probe.grpc, place)
    return Outcome(True, "nothing is probed")


def url(wanted: HttpGet, place: Place) -> str:
    """Where an HTTP probe asks."""
    path = wanted.path if wanted.path.startswith("/") else f"/{wanted.path}"
    return f"{wanted.scheme.lower()}://{_bracketed(wanted.host or place.host)}:{wanted.port}{path}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


async def _tcp(wanted: TcpSocket, place: Place) -> Outcome:
    host = wanted.host or place.host
    try:
        opened = await passing.connect(host, wanted.port, place.mark)
    except (OSError, ValueError) as error:  # ValueError: no name that can be looked up
        return Outcome(
            False, f"{host} port {wanted.port}: {getattr(error, 'strerror', '') or error}"
        )
    opened.close()
    return Outcome(True, f"{host} port {wanted.port} is open")


async def _exec(wanted: Exec, timeout_s: float) -> Outcome:
    done = await bounded.run(wanted.command, timeout_s)
    said = done.stdout.strip() or done.stderr.strip()
    if done.code == TIMED_OUT:
        return Outcome(False, f"{wanted.command[0]}: no end after {timeout_s:g} s {said}")
    return Outcome(done.code == 0, f"{wanted.command[0]}: exit code {done.code} {said}")


async def _grpc(wanted: Grpc, place: Place) -> Outcome:
    """The port is this VM's own, and what goes over lo to an own address is never captured."""
    from interceptor.host import rpc

    channel = rpc.open_channel(f"{_bracketed(place.host)}:{wanted.port}")
    try:
        answer = await channel.call(GRPC_CHECK, encode_check(wanted.service))
    except rpc.RpcError as error:
        if error.code == "UNIMPLEMENTED":
            said = "the server has no grpc.health.v1.Health"
            return Outcome(False, f"port {wanted.port}: {said}")
        return Outcome(False, f"port {wanted.port}: {error}")
    finally:
        await channel.close()
    status = decode_check(answer)
    named = f" {wanted.service!r}" if wanted.service else ""
    return Outcome(status == 1, f"the service{named} is {SERVING.get(status, status)}")


def encode_check(service: str) -> bytes:
    """grpc.health.v1.HealthCheckRequest: field 1 ``service``, a string."""
    text = service.encode()
    if not text:
        return b""
    size, length = len(text), b""
    while size > 0x7F:
        length += bytes((size & 0x7F | 0x80,))
        size >>= 7
    return b"\x0a" + length + bytes((size,)) + text


def decode_check(answer: bytes) -> int:
    """grpc.health.v1.HealthCheckResponse: field 1 ``status``, an enum; 0 where it is not there."""
    return answer[1] if len(answer) >= 2 and answer[0] == 0x08 else 0
