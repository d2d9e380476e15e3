"""What a capture takes from a host: which links, by which right, from which table."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from interceptor import tap
from interceptor.capture.plan import Plan
from interceptor.config import Config
from interceptor.config.tree import Capture, Mesh
from interceptor.debug.viewpoint import Role
from interceptor.errors import ConfigError
from interceptor.host.layout import Way
from interceptor.host.probe import Device, LinkLayer

LO = Device("lo", 1, LinkLayer.LOOPBACK)
ETH = Device("eth0", 2, LinkLayer.ETHERNET)
DOCKER = Device("docker0", 3, LinkLayer.ETHERNET)


def test_every_link_is_taken_unless_some_are_named() -> None:
    assert tap.choose((LO, ETH), ()) == (LO, ETH)
    assert tap.choose((LO, ETH), ("eth0", "eth0")) == (ETH,)


def test_a_link_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="eth9: one of lo, eth0"):
        tap.choose((LO, ETH), ("eth9",))


def test_a_link_s_role_is_by_its_kind_and_the_configuration() -> None:
    roles = [tap.role_of(device, ("docker0",)) for device in (LO, ETH, DOCKER)]
    assert roles == [Role.LOCAL, Role.UPLINK, Role.BRIDGE]


def test_listeners_are_those_of_the_plan() -> None:
    ways = tap.ports_of(Plan()).ways
    assert ways == {15001: Way.OUTBOUND, 15006: Way.INBOUND, 15053: Way.DNS}


def test_a_table_that_cannot_be_loaded_is_told_and_the_capture_goes_on(tmp_path: Path) -> None:
    known = tap.know(Config(mesh=Mesh(files=(tmp_path / "none",))))
    assert str(tmp_path / "none") in known.trouble
    assert known.judgement.query((b"\x0a\0\0\1", 1), "a.example", 1, 0.0).verdict == ""


def test_without_maps_no_alias_is_known(tmp_path: Path) -> None:
    config = Config(capture=Capture(bpf_dir=tmp_path / "none"))
    with ExitStack() as undo:
        assert tap.open_aliases(config, undo)(b"\x7f\x40\0\1") is None
