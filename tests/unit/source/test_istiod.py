"""The source against a control plane that misbehaves, over TLS; `line` is tested with it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from interceptor.config import Config, Istiod, Mesh
from interceptor.host.controlplane import Target
from interceptor.host.rpc import RpcError
from interceptor.source import line
from interceptor.source.dialogue import Node
from interceptor.source.event import Event, Loaded, Rejected
from interceptor.source.istiod import Upstream
from interceptor.source.nds import Register
from tests.controlplane.plane import Plane, running

WAIT_S = 40
NODE = Node(
    "sidecar~127.0.0.1~vm.default~default.svc.cluster.local",
    "vm.default",
    ("", "", ""),
    {"NAMESPACE": "default", "DNS_CAPTURE": "true"},
)


def say(plane: Plane, **hosts: str) -> None:
    """The names from now on; they are pushed at once."""
    names = {name.replace("_", "."): [address] for name, address in hosts.items()}
    fresh = plane.setup.folder / ".names"
    fresh.write_text(json.dumps(names))
    fresh.rename(plane.setup.folder / "names.json")
    plane.look()


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    folder = tmp_path / "mesh"
    folder.mkdir()
    (folder / "names.json").write_text('{"a.test": ["10.0.0.1"], "b.test": ["10.0.0.2"]}')
    with running(folder, tls=True) as found:
        (tmp_path / "root.pem").write_bytes(found.authority.root_pem)
        (tmp_path / "token").write_text(found.authority.token())
        yield found


@dataclass
class World:
    """A source that is being followed, and what it has told."""

    upstream: Upstream
    told: list[Event] = field(default_factory=list)
    bell: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self.bell.clear()
                try:
                    async with asyncio.timeout(0.05):
                        await self.bell.wait()
                except TimeoutError:
                    pass

    @property
    def names(self) -> dict[str, str]:
        """In force."""
        last = next((each for each in reversed(self.told) if isinstance(each, Loaded)), None)
        return {} if last is None else {n: str(h.addresses[0]) for n, h in last.table.hosts.items()}

    @property
    def problem(self) -> str:
        """The last one that stands."""
        last = self.told[-1] if self.told else None
        return "; ".join(map(str, last.problems)) if last else ""

    def status(self, key: str) -> object:
        return self.upstream.status().get(key)


def config(folder: Path, *addresses: str, **istiod: object) -> Config:
    made = Istiod(
        addresses=addresses, root_cert=folder / "root.pem", token=folder / "token", **istiod
    )
    return Config(mesh=Mesh(state_dir=folder, istiod=made))


@asynccontextmanager
async def following(settings: Config) -> AsyncIterator[World]:
    upstream = Upstream(settings.mesh, lambda: Target.choose(settings), lambda: NODE)
    world = World(upstream)

    async def follow() -> None:
        async for event in upstream.events():
            world.told.append(event)
            world.bell.set()

    task = asyncio.create_task(follow())
    try:
        yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def live(tmp_path: Path, *addresses: str, **istiod: object) -> Callable[..., None]:
    """Runs ``story(world)`` with a source that follows the addresses."""

    def run(story: object) -> None:
        async def go() -> None:
            async with following(config(tmp_path, *addresses, **istiod)) as world:
                await story(world)  # type: ignore[operator]

        asyncio.run(go())

    return run


FULL = {"a.test": "10.0.0.1", "b.test": "10.0.0.2"}


@pytest.mark.parametrize("protocol", ["delta", "sotw", "auto"])
def test_names_and_their_changes_come_and_are_acknowledged(
    tmp_path: Path, plane: Plane, protocol: str
) -> None:
    async def story(world: World) -> None:
        await world.until(lambda: world.names == FULL)
        say(plane, a_test="10.0.0.1", b_test="10.0.0.9")
        await world.until(lambda: world.names["b.test"] == "10.0.0.9")
        await world.until(lambda: world.status("acks") == 2)
        last = world.told[-1]
        assert isinstance(last, Loaded)
        assert [host.name for host in last.difference.upserted] == ["b.test"]
        assert world.status("protocol") == ("sotw" if protocol == "sotw" else "delta")
        assert (world.status("connected"), world.status("nacks")) == (True, 0)
        figures = world.upstream.figures()
        assert figures["control_plane_connected"] == {(): 1}
        assert figures["control_plane_responses"][("acked",)] == 2

    live(tmp_path, f"localhost:{plane.port}", protocol=protocol)(story)


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ({"truncate": 3}, "cannot be decoded"),
        ({"garbage": "resource"}, "cannot be decoded"),
        ({"inner_url": "type.googleapis.com/x.Y"}, "of type type.googleapis.com/x.Y instead of"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_the_reason_and_the_last_good_one_holds(
    tmp_path: Path, plane: Plane, faults: dict[str, object], reason: str
) -> None:
    async def story(world: World) -> None:
        await world.until(lambda: world.names == FULL)
        plane.spoil(**faults)
        plane.push()
        await world.until(lambda: reason in world.problem)
        await world.until(lambda: world.status("nacks") == 1)
        nack = plane.record.wait("nack", WAIT_S)
        assert reason in str(nack)
        assert reason in str(world.status("refused"))
        assert world.names == FULL
        plane.spoil()
        plane.push()
        await world.until(lambda: not world.problem)
        assert world.names == FULL

    live(tmp_path, f"localhost:{plane.port}")(story)


@pytest.mark.parametrize(
    "faults",
    [{"nonce": "same"}, {"nonce": "none"}, {"duplicate": 3}, {"unasked": True}, {"drip_bps": 3000}],
    ids=str,
)
def test_habits_that_are_only_odd_do_no_harm(
    tmp_path: Path, plane: Plane, faults: dict[str, object]
) -> None:
    async def story(world: World) -> None:
        plane.spoil(**faults)
        await world.until(lambda: world.names == FULL)
        say(plane, c_test="10.0.0.3")
        await world.until(lambda: world.names == {"c.test": "10.0.0.3"})
        assert world.status("nacks") == 0

    plane.spoil(**faults)
    live(tmp_path, f"localhost:{plane.port}")(story)


def test_responses_without_a_resource_say_nothing(tmp_path: Path, plane: Plane) -> None:
    async def story(world: World) -> None:
        await world.until(lambda: world.names == FULL)
        plane.spoil(no_resources=True)
        plane.push()
        await world.until(lambda: world.status("acks") == 2)
        assert (world.names, world.problem) == (FULL, "")

    live(tmp_path, f"localhost:{plane.port}")(story)


def test_an_empty_table_is_believed_once_it_has_stood(tmp_path: Path, plane: Plane) -> None:
    async def story(world: World) -> None:
        await world.until(lambda: world.names == FULL)
        plane.spoil(empty=True)
        plane.push()
        await world.until(lambda: "empty" in world.problem)
        assert world.names == FULL
        await world.until(lambda: world.names == {})
        assert world.problem == ""

    live(tmp_path, f"localhost:{plane.port}", empty_after_s=2)(story)


@pytest.mark.parametrize("how", ["close", "cut"])
def test_a_stream_that_ends_is_begun_again_and_is_no_problem(
    tmp_path: Path, plane: Plane, how: str
) -> None:
    async def story(world: World) -> None:
        await world.until(lambda: world.names == FULL)
        if how == "close":
            plane.close_streams()
        else:
            plane.cut()
        say(plane, c_test="10.0.0.3")
        await world.until(lambda: "c.test" in world.names)
        assert world.status("ends") == 1
        assert world.status("failures") == 0
        assert not any(isinstance(each, Rejected) for each in world.told)

    live(tmp_path, f"localhost:{plane.port}")(story)


def test_a_frame_that_is_no_message_ends_the_stream_and_names_hold(
    tmp_path: Path, plane: Plane
) -> None:
    async def story(world: World) -> None:
        await world.until(lambda: world.names == FULL)
        plane.spoil(garbage="frame")
        plane.push()
        await world.until(lambda: "no discovery response" in str(world.status("last_error")))
        assert world.names == FULL
        plane.spoil()
        await world.until(lambda: world.status("connected"))

    live(tmp_path, f"localhost:{plane.port}")(story)


def test_huge_metadata_of_the_peer_is_an_error_with_a_reason(tmp_path: Path, plane: Plane) -> None:
    async def story(world: World) -> None:
        await world.until(lambda: world.status("last_error"))
        assert "RESOURCE_EXHAUSTED" in str(world.status("last_error"))
        plane.spoil()
        await world.until(lambda: world.names == FULL)

    plane.spoil(header_bytes=100_000)
    live(tmp_path, f"localhost:{plane.port}")(story)


def test_who_refuses_is_quoted(tmp_path: Path, plane: Plane) -> None:
    async def story(world: World) -> None:
        await world.until(lambda: "no such group" in world.problem)
        assert "FAILED_PRECONDITION" in str(world.status("last_error"))

    plane.spoil(refuse="FAILED_PRECONDITION", refuse_message="no such group")
    live(tmp_path, f"localhost:{plane.port}")(story)


def test_an_expired_token_is_told_and_a_new_one_is_read(tmp_path: Path, plane: Plane) -> None:
    async def story(world: World) -> None:
        await world.until(lambda: "expired at" in str(world.status("last_error")))
        (tmp_path / "token").write_text(plane.authority.token())
        await world.until(lambda: world.names == FULL)

    (tmp_path / "token").write_text(plane.authority.token(ttl_s=-100))
    live(tmp_path, f"localhost:{plane.port}")(story)


def test_a_mute_control_plane_is_left_for_the_next_address(
    tmp_path: Path, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "PATIENCE_S", 0.5)

    async def story(world: World) -> None:
        await world.until(lambda: world.names == FULL)
        assert world.status("address") == f"localhost:{plane.port}"

    other = tmp_path / "other"
    other.mkdir()
    with running(other, tls=True, state=tmp_path / "mesh-state") as mute:
        mute.spoil(mute=True)
        live(tmp_path, f"localhost:{mute.port}", f"localhost:{plane.port}")(story)


def test_health_is_told_on_change_and_after_each_reconnect(tmp_path: Path, plane: Plane) -> None:
    async def story(world: World) -> None:
        await world.upstream.tell_health(False, "port 8080 is closed")
        await world.until(lambda: world.names == FULL)
        await asyncio.to_thread(plane.record.wait, "health", WAIT_S)
        since = len(plane.record)
        await world.upstream.tell_health(True, "")
        await asyncio.to_thread(plane.record.wait, "health", WAIT_S, since=since)
        since = len(plane.record)
        plane.close_streams()
        await asyncio.to_thread(plane.record.wait, "health", WAIT_S, since=since)
        told = [(each["healthy"], each.get("message", "")) for each in plane.record.lines("health")]
        assert [each[0] for each in told] == [False, True, True]
        assert "port 8080 is closed" in str(told[0])

    live(tmp_path, f"localhost:{plane.port}")(story)


def test_the_last_good_table_is_there_while_the_control_plane_is_away(
    tmp_path: Path, plane: Plane
) -> None:
    async def story(world: World) -> None:
        await world.until(lambda: world.names == FULL)

    async def away(world: World) -> None:
        await world.until(lambda: world.names == FULL)
        assert world.told[-1].standing.recalled == 1
        assert "nobody listens there" in world.problem

    live(tmp_path, f"localhost:{plane.port}")(story)
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]
    live(tmp_path, f"localhost:{port}")(away)


def test_a_command_asks_once(tmp_path: Path, plane: Plane) -> None:
    async def ask(address: str) -> bytes:
        target = Target.choose(config(tmp_path, address))
        return await line.ask(target, NODE, "auto", WAIT_S)

    data = asyncio.run(ask(f"localhost:{plane.port}"))
    assert set(Register().parse(data).hosts) == set(FULL)
    plane.spoil(refuse="UNAUTHENTICATED")
    with pytest.raises(RpcError, match="UNAUTHENTICATED"):
        asyncio.run(ask(f"localhost:{plane.port}"))
