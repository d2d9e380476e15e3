"""What a SIGHUP makes of a configuration. That connections live through it: tests/netns."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from interceptor import config
from interceptor.config import Config
from interceptor.errors import ConfigError, Problem
from interceptor.reload import UNCONFIRMED, Reload, confirmed_argv

BEFORE = Config()


def ask(after: Config | ConfigError, is_pending: bool = False) -> tuple[Reload, bool]:
    """The outcome, and whether the daemon was told to end."""
    stopping = asyncio.Event()

    def reread() -> Config:
        if isinstance(after, ConfigError):
            raise after
        return after

    reload = Reload(BEFORE, stopping, lambda: is_pending)
    reload.ask(reread)
    return reload, stopping.is_set()


def test_another_configuration_has_a_successor() -> None:
    reload, is_told = ask(config.parse("", flags={"dns.ttl_s": 7}))
    assert (reload.is_due, reload.refused, is_told) == (True, (), True)


def test_the_same_configuration_changes_nothing() -> None:
    reload, is_told = ask(Config())
    assert (reload.is_due, reload.refused, is_told) == (False, (), False)


def test_a_wrong_one_changes_nothing_and_is_told_of() -> None:
    problem = Problem("a.yaml", "dns.ttl_s", "-1", "0..86400")
    reload, is_told = ask(ConfigError([problem]))
    assert (reload.is_due, reload.refused, is_told) == (False, (str(problem),), False)
    assert reload.refused_s is not None
    assert reload.refused_s >= reload.taken_s
    reload.ask(Config)
    assert reload.refused == (), "mended"
    assert reload.taken_s >= reload.refused_s, "the last word"


@pytest.mark.parametrize("key", ["agent.run_dir", "capture.bpf_dir", "mesh.state_dir"])
def test_what_stays_must_be_found_where_it_is(key: str) -> None:
    reload, is_told = ask(config.parse("", flags={key: str(Path("/elsewhere"))}))
    assert (reload.refused, is_told) == ((f"{key}: needs a stop and a start",), False)


def test_nothing_changes_before_the_confirmation() -> None:
    reload, is_told = ask(config.parse("", flags={"dns.ttl_s": 7}), is_pending=True)
    assert (reload.refused, is_told) == ((UNCONFIRMED,), False)


def test_what_was_confirmed_is_not_asked_again() -> None:
    words = ["-m", "x", "run", "--confirm", "60s", "--config", "a", "--confirm=1s"]
    assert confirmed_argv(words) == ["-m", "x", "run", "--config", "a"]
