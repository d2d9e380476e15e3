"""TCP/53 on a VM: mesh names answered, the rest relayed to a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.netns.dns.conftest import Running, World

pytestmark = pytest.mark.root
SERVER4, SERVER6 = "10.99.0.1", "fd99::1"
TCP_PORT = 15053
SERVERS = pytest.mark.parametrize("server", [SERVER4, SERVER6])


@SERVERS
def test_mesh_names_are_answered_over_tcp(world: World, plane: Running, server: str) -> None:
    assert world.short("+tcp", "v4.bookinfo", server=server) == ["10.0.0.4"]
    assert len(world.short("+tcp", "many.bookinfo", server=server)) == 100


@SERVERS
def test_other_names_are_relayed_to_the_chosen_server(
    world: World, plane: Running, server: str
) -> None:
    assert world.short("+tcp", "www.other.test", server=server) == ["192.0.2.1"]
    assert len(world.short("+tcp", "long.other.test", "TXT", server=server)[0]) > 600
    world.wait(lambda: plane.plane.counters.events.get("tcp-relayed", 0) >= 2, 3)


def test_several_queries_share_one_connection(world: World, plane: Running) -> None:
    names = ["v4.bookinfo", "www.other.test", "x.wild.test", "www.other.test"]
    said = world.short("+tcp", "+keepopen", *names)
    assert said == ["10.0.0.4", "192.0.2.1", "240.240.0.9", "192.0.2.1"]


def test_the_relays_own_connection_is_marked(own_world: World, own_plane: Running) -> None:
    """If it were not marked it would be steered back to us: a loop."""
    assert own_world.short("+tcp", "www.other.test") == ["192.0.2.1"]
    own_world.wait(lambda: own_plane.plane.counters.events.get("tcp-relayed", 0) == 1, 3)
    events = own_plane.plane.counters.events
    assert (events["tcp-steered"], events["tcp-connections"]) == (1, 1)


def test_a_client_that_comes_outright_gets_mesh_names_only(world: World, plane: Running) -> None:
    direct = ("-p", str(TCP_PORT), "+tcp")
    assert world.short(*direct, "v4.bookinfo", server="127.0.0.1") == ["10.0.0.4"]
    assert world.short(*direct, "v4.bookinfo", server="::1") == ["10.0.0.4"]
    assert world.short(*direct, "www.other.test", server="127.0.0.1") != ["192.0.2.1"]
