"""A service that is kept known: its entry follows health, group and address."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from interceptor import config
from interceptor.config import Config, Probe
from interceptor.mesh.model import WorkloadGroup
from interceptor.workload import upkeep
from interceptor.workload.upkeep import Upkeep

LATE_S = 30.0
TRUE = Probe.model_validate({"exec": {"command": ["true"]}, "period_s": 0.05})
GROUP = WorkloadGroup("g", "default", labels=(("app", "a"),), probe=TRUE)


def make(tmp_path: Path, **workload: Any) -> Config:
    (tmp_path / "run").mkdir(exist_ok=True)
    found = {"group": "g", "entry": tmp_path / "own.yaml", **workload}
    return Config.model_validate(
        {
            "node": {"addresses": ["10.0.0.2"]},
            "workload": found,
            "agent": {"run_dir": tmp_path / "run"},
        }
    )


class World:
    """An Upkeep with what it told, and a sidecar that is as the test says."""

    def __init__(self, config: Config) -> None:
        self.path = config.workload.entry or Path("/nonexistent")
        self.told: list[tuple[bool, str]] = []
        self.sidecar = ""
        self.upkeep = Upkeep(config, self._sidecar, self._tell)

    async def _sidecar(self) -> str:
        return self.sidecar

    async def _tell(self, is_healthy: bool, why: str) -> None:
        self.told.append((is_healthy, why))

    def condition(self) -> str:
        """The health that the file tells; empty without one."""
        try:
            document = yaml.safe_load(self.path.read_text())
        except FileNotFoundError:
            return ""
        return str(document.get("status", {}).get("conditions", [{"status": "-"}])[0]["status"])


async def until(is_so: Callable[[], bool]) -> None:
    """Files tell nobody that they have changed, so they are looked at."""
    async with asyncio.timeout(LATE_S):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def live(of: Config, body: Callable[[World], Awaitable[None]], *, keep: bool = False) -> World:
    async def main() -> World:
        world = World(of)
        world.upkeep.follow([GROUP])
        await world.upkeep.open()
        try:
            await body(world)
        finally:
            await world.upkeep.withdraw(keep=keep)
        return world

    return asyncio.run(main())


def test_an_entry_is_not_ready_before_its_first_probe_and_turns_with_them(tmp_path: Path) -> None:
    seen: list[str] = []

    async def body(world: World) -> None:
        world.sidecar = "the sidecar is starting"
        await until(lambda: world.condition() == "False")
        seen.append(world.path.read_text())
        world.sidecar = ""
        await until(lambda: world.condition() == "True")
        world.sidecar = "the sidecar is down"
        await until(lambda: world.condition() == "False")
        seen.append(world.path.read_text())

    world = live(make(tmp_path), body)
    assert "not probed yet" in seen[0] or "starting" in seen[0]
    assert "the sidecar is down" in seen[1]
    assert world.told[-1] == (False, "the sidecar is down")
    assert not world.path.exists()


def test_the_configuration_s_probe_counts_before_the_group_s(tmp_path: Path) -> None:
    probe = {"exec": {"command": ["false"]}, "period_s": 0.05, "failure_threshold": 1}

    async def body(world: World) -> None:
        await until(lambda: bool(world.told))

    assert live(make(tmp_path, probe=probe), body).told[0][0] is False


def test_a_group_that_changes_changes_entry_and_probe(tmp_path: Path) -> None:
    bad = Probe.model_validate(
        {"exec": {"command": ["false"]}, "period_s": 0.05, "failure_threshold": 1}
    )

    async def body(world: World) -> None:
        await until(lambda: world.condition() == "True")
        world.upkeep.follow([WorkloadGroup("g", "default", ports=(("http", 81),), probe=bad)])
        await until(lambda: world.condition() == "False")
        assert yaml.safe_load(world.path.read_text())["spec"]["ports"] == {"http": 81}
        world.upkeep.follow([])  # lost: nothing changes
        await asyncio.sleep(0.2)
        assert world.path.exists()

    live(make(tmp_path), body)


def test_without_a_probe_an_entry_has_no_health(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.upkeep.follow([WorkloadGroup("g", "default")])
        await until(lambda: world.condition() == "-")

    assert live(make(tmp_path), body).told in ([], [(True, "")])


def test_an_agent_that_makes_room_for_another_leaves_the_entry_healthy(tmp_path: Path) -> None:
    async def healthy(world: World) -> None:
        await until(lambda: world.condition() == "True")

    world = live(make(tmp_path), healthy, keep=True)
    assert world.condition() == "True"

    async def next_agent(world: World) -> None:
        world.sidecar = "the sidecar is starting"  # fewer failures than the threshold
        await asyncio.sleep(0.1)
        assert world.condition() == "True"

    slow = {"exec": {"command": ["true"]}, "period_s": 60}
    live(make(tmp_path, probe=slow), next_agent)


def test_an_entry_that_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    """A file stands where the folder has to be; removed, it is made."""
    config = make(tmp_path, entry=tmp_path / "mesh/own.yaml")
    (tmp_path / "mesh").write_text("")

    async def body(world: World) -> None:
        await until(lambda: "mesh" in str(world.upkeep.status()["problem"]))
        (tmp_path / "mesh").unlink()
        await until(lambda: world.condition() == "True")

    live(config, body)


def test_status_tells_what_it_is_registered_as(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await until(lambda: world.condition() == "True")
        status = world.upkeep.status()
        assert status["entry"] == "g-10.0.0.2"
        assert status["problem"] == ""
        assert isinstance(status["health"], dict)
        assert status["health"]["state"] == "healthy"

    live(make(tmp_path), body)


def test_a_group_that_is_in_no_document_is_told(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await until(lambda: "WorkloadGroup default/h" in str(world.upkeep.status()["problem"]))

    live(make(tmp_path, group="h"), body)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("identity: {provider: local}", True),
        ("identity: {provider: none}", False),
        ("{identity: {provider: local}, sidecar: {mtls: disable}}", False),
        ("{identity: {provider: local}, sidecar: {mode: external}}", False),
        ("{identity: {provider: istiod}, mesh: {source: istiod}}", False),
    ],
)
def test_mutual_tls_is_offered_where_our_envoy_has_a_certificate(text: str, expected: bool) -> None:
    assert upkeep.takes_mutual_tls(config.parse(text)) is expected


@pytest.mark.parametrize(
    ("workload", "is_wanted"),
    [({}, False), ({"group": "g"}, True), ({"entry": "/x"}, True)],
)
def test_with_the_defaults_there_is_nothing_to_do(workload: Any, is_wanted: bool) -> None:
    assert upkeep.is_wanted(Config.model_validate({"workload": workload})) is is_wanted


def test_with_istiod_the_entry_s_name_is_told_and_a_new_address_wants_a_restart() -> None:
    tree = {"mesh": {"source": "istiod"}, "workload": {"group": "g"}}

    async def body() -> None:
        one = World(Config.model_validate(tree)).upkeep
        one._note_addresses((ip_address("10.0.0.2"),))
        assert one.status()["entry"] == "g-10.0.0.2"
        assert one.status()["problem"] == ""
        one._note_addresses((ip_address("10.0.0.3"),))
        assert "10.0.0.3 now: restart" in str(one.status()["problem"])
        assert "FAILED_PRECONDITION" not in str(one.status("FAILED_PRECONDITION: x")["problem"])

    asyncio.run(body())


def test_a_stop_is_told_before_the_entry_goes_and_only_once(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await until(lambda: world.condition() == "True")
        assert await world.upkeep.withdraw(keep=False)
        assert world.told[-1] == (False, upkeep.STOPPING)
        assert not world.path.exists()
        assert not await world.upkeep.withdraw(keep=False)
        assert len(world.told) == 2

    live(make(tmp_path), body)
