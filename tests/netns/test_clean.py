"""Cleaning a host, where not everything goes well."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interceptor.capture import clean, fact, joined
from interceptor.capture.backend import Choice
from interceptor.capture.journal import Journal
from interceptor.capture.plan import build
from interceptor.config import Config
from interceptor.errors import CommandFailed

pytestmark = pytest.mark.root


@pytest.fixture
def host(namespaces: Callable[[str], Any]) -> Any:
    return namespaces("clean")


def install(host: Any, journal: Journal) -> None:
    plan = build(Config(), host.call(fact.facts, Config()))
    both = joined.build(Choice("nftables", "iptables", "nft", True), journal)
    host.call(both.apply, plan)


def test_a_clean_host_stays_clean(host: Any) -> None:
    assert host.call(clean.observe) == ""
    host.call(clean.revert, Journal())
    assert host.call(clean.observe) == ""


def test_what_is_left_is_seen_without_any_configuration(host: Any, tmp_path: Path) -> None:
    install(host, Journal(tmp_path / "journal"))
    left = host.call(clean.observe)
    assert "nat_output" in left
    assert "INTERCEPTOR_DNS" in left
    assert "proto 157" in left
    host.call(clean.revert, Journal())
    assert host.call(clean.observe) == ""


def test_a_journal_of_nonsense_does_not_stand_in_the_way(host: Any, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    install(host, journal)
    nonsense = ["", "x", "[]", '{"undo": 5}', json.dumps({"undo": [[["no-such-program"], None]]})]
    with (tmp_path / "journal").open("a") as file:
        file.write("\n".join(nonsense))
    host.call(clean.revert, journal)
    assert host.call(clean.observe) == ""
    assert not (tmp_path / "journal").exists()


def test_one_thing_that_cannot_go_keeps_nothing_else_and_is_told(host: Any, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    install(host, journal)
    host.sh("nft add table ip interceptor; nft add chain ip interceptor used")
    host.sh("nft 'add table inet other; add chain inet other c'")
    host.call(clean.revert, journal)
    assert host.call(clean.observe) == ""
    assert host.sh("nft list tables") == "table inet other\n"


def test_a_failure_is_raised_after_everything_was_tried(
    host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "journal")
    install(host, journal)

    def refuse(self: object) -> None:
        raise CommandFailed(("nft",), 1, "refused")

    with monkeypatch.context() as patched:
        patched.setattr(clean.Nftables, "revert", refuse)
        patched.setattr(Journal, "replay", lambda self: None)
        with pytest.raises(CommandFailed, match="refused"):
            host.call(clean.revert, journal)
        assert journal.read() != ()
    left = host.call(clean.observe)
    assert "nat_output" in left
    assert "INTERCEPTOR" not in left
    host.call(clean.revert, journal)
    assert host.call(clean.observe) == ""
