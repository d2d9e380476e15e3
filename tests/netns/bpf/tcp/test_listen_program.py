"""listen, and host.listener: the sidecar's listeners are found, whoever was there first."""

from __future__ import annotations

from typing import Any

import pytest

from interceptor.host import listener
from interceptor.host.layout import Listener, Map, Way

pytestmark = pytest.mark.root

WAYS = {15001: Way.OUTBOUND, 15006: Way.INBOUND, 15053: Way.DNS}
ALL_BUT_LISTEN = ("lookup", "original", "connect4", "connect6")


def register(steered: Any, pids: Any) -> frozenset[Listener]:
    """In the VM's namespace, as the daemon does."""
    return steered.vm.call(listener.register, steered.kernel.maps[Map.LISTENERS], WAYS, pids)


@pytest.fixture
def late(steered) -> Any:
    """The sidecar listens already when the programs come."""
    steered.sidecar()
    steered.attach(*ALL_BUT_LISTEN)
    return steered


def reached(steered: Any, client: Any, destination: str) -> str:
    try:
        return str(steered.run(client, destination, 80)["place"])
    except ConnectionRefusedError:
        return "refused"


@pytest.mark.parametrize("known", [True, False], ids=["its pid is known", "whoever it is"])
def test_a_sidecar_that_was_there_before_is_registered(late, client, known: bool) -> None:
    assert reached(late, client, "10.96.0.7") == "refused"
    assert register(late, [late.standins[0].pid] if known else None) == set(Listener)
    assert reached(late, client, "10.96.0.7") == "15001:4:127.0.0.1"
    assert reached(late, client, "2001:2::7") == "15001:6:::1"


def test_a_registered_sidecar_that_ends_is_forgotten(late, client) -> None:
    register(late, None)
    late.kill(late.standins[0])
    assert reached(late, client, "10.96.0.7") == "refused"
    assert register(late, None) == set()


def test_processes_of_other_namespaces_are_not_registered(late) -> None:
    kernel = late.kernel.maps[Map.LISTENERS]
    assert late.peer.call(listener.register, kernel, WAYS, None) == set()


def test_other_processes_than_those_named_are_not_registered(late) -> None:
    assert register(late, [1]) == set()


def test_a_process_that_has_ended_is_no_harm(late) -> None:
    assert register(late, [2**22 - 1, late.standins[0].pid]) == set(Listener)


@pytest.mark.parametrize("before", [True, False], ids=["registered", "by the program"])
def test_a_listener_of_both_families_serves_both(steered, client, before: bool) -> None:
    steered.attach(*ALL_BUT_LISTEN)
    if not before:
        steered.attach("listen")
    steered.sidecar("15001:dual:::")
    if before:
        assert register(steered, None) == {Listener.OUTBOUND4, Listener.OUTBOUND6}
    assert reached(steered, client, "10.96.0.7") == "15001:dual:::"
    assert reached(steered, client, "2001:2::7") == "15001:dual:::"


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("before", [True, False], ids=["registered", "by the program"])
def test_a_listener_of_one_family_beats_one_of_both(
    steered, client, before: bool, order: int
) -> None:
    steered.attach(*ALL_BUT_LISTEN)
    if not before:
        steered.attach("listen")
    steered.sidecar(*("15001:6:::", "15001:4:127.0.0.1")[::order])
    if before:
        register(steered, None)
    assert reached(steered, client, "10.96.0.7") == "15001:4:127.0.0.1"
    assert reached(steered, client, "2001:2::7") == "15001:6:::"


def test_a_listener_outside_the_agents_cgroup_is_none_of_ours(steered, client) -> None:
    steered.attach()
    steered.agent = steered.cgroup  # where the stand-in goes
    steered.sidecar()
    steered.agent = steered.cgroup / "agent"
    assert reached(steered, client, "10.96.0.7") == "refused"


def test_a_second_sidecar_takes_over_and_the_first_may_go(on, client) -> None:
    """Envoy's successor listens, in the group of the same port, before its predecessor ends."""
    on.kill(on.standins[0])
    first = on.sidecar("15001:reuse:127.0.0.1")
    second = on.sidecar("15001:reuse:127.0.0.1")
    on.kill(first)
    assert {on.run(client, "10.96.0.7", 80)["pid"] for _ in range(10)} == {second.pid}
