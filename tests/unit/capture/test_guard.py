"""What the guard puts back and when, over back ends that are a text each."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from time import monotonic

import pytest

from interceptor.capture import neighbour, patience, plan
from interceptor.capture.ebpfstep import Sites
from interceptor.capture.guard import Guard
from interceptor.capture.joined import Joined, Part
from interceptor.capture.neighbour import Neighbour
from interceptor.capture.plan import Facts, Place, Plan
from interceptor.capture.step import Step
from interceptor.config import Config

PLAN = plan.build(Config(), Facts())
RULE = "-A INTERCEPTOR_OUTPUT -j RETURN\n"
ROUTE = "ip -6 route local ::6/128 dev lo proto 157\n"
SET = "set interceptor_outbound4\n"


@dataclass
class Text:
    """A back end whose host is a text. ``after_apply`` is somebody who comes right behind us."""

    name: str
    wanted: str
    host: str = ""
    applied: int = 0
    amiss: bool = False
    fails: int = 0
    after_apply: Callable[[Text], None] = lambda text: None
    _pipe: tuple[int, int] = field(default_factory=os.pipe)

    def render(self, plan: Plan) -> tuple[Step, ...]:
        return ()

    def expected(self, plan: Plan) -> str:
        return self.wanted

    def observe(self) -> str:
        if self.fails:
            self.fails -= 1
            raise OSError(24, "Too many open files")
        return self.host

    def apply(self, plan: Plan) -> None:
        self.host = self.wanted
        self.applied += 1
        self.after_apply(self)

    def revert(self) -> None:
        self.host = ""

    def update(self, places: Iterable[Place]) -> None:
        self.tell()

    def events(self) -> int | None:
        os.set_blocking(self._pipe[0], False)
        return os.dup(self._pipe[0])

    def is_amiss(self) -> bool:
        return self.amiss

    def tell(self) -> None:
        os.write(self._pipe[1], b"x")

    def suffer(self, left: str = "") -> None:
        """Somebody changes the host, and the kernel tells."""
        self.host = left
        self.tell()

    def close(self) -> None:
        for descriptor in self._pipe:
            os.close(descriptor)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interceptor.capture.guard.SETTLE_S", 0.01)
    monkeypatch.setattr("interceptor.capture.guard.GLANCE_S", 0.05)
    monkeypatch.setattr(patience, "BACK_OFF_S", (0.0, 0.0, 0.0, 0.4, 0.6))
    monkeypatch.setattr(neighbour, "observe", lambda *_: (Neighbour("nat OUTPUT", "x", "ufw"),))


def guarded(*parts: Text, do: Callable[[Guard], Awaitable[None]]) -> Guard:
    """Install, follow, and do something meanwhile."""
    guard = Guard(Joined("texts", [Part(part, lambda plan: plan) for part in parts], Sites()))

    async def main() -> None:
        await guard.install(PLAN)
        following = asyncio.create_task(guard.follow())
        await asyncio.sleep(0.05)
        try:
            await do(guard)
            assert not following.done()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    try:
        asyncio.run(main())
    finally:
        for part in parts:
            part.close()
    return guard


async def until(condition: Callable[[], bool], limit_s: float = 3.0) -> float:
    """How long it took. Raises TimeoutError."""
    began_s = monotonic()
    while not condition():
        await asyncio.sleep(0.01)
        if monotonic() - began_s > limit_s:
            raise TimeoutError
    return monotonic() - began_s


def test_what_is_removed_is_put_back_and_counted_by_its_cause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rules = Text("nftables", RULE + SET)

    async def do(guard: Guard) -> None:
        rules.suffer(RULE)
        await until(lambda: rules.host == rules.wanted)
        await until(lambda: bool(guard.repairs))

    guard = guarded(rules, do=do)
    assert guard.repairs == {"sets": 1}
    assert not guard.drift
    assert "put back: sets: missing set interceptor_outbound4" in caplog.text


def test_events_that_change_nothing_of_ours_repair_nothing() -> None:
    rules = Text("nftables", RULE)

    async def do(guard: Guard) -> None:
        for _ in range(30):
            rules.tell()
            await asyncio.sleep(0.02)

    guard = guarded(rules, do=do)
    assert (guard.repairs, rules.applied) == ({}, 1)


def test_whoever_removes_it_while_we_put_it_back_is_noticed_too() -> None:
    rules = Text("nftables", RULE)

    def come_right_behind(text: Text) -> None:
        if text.applied == 2:
            text.suffer()

    rules.after_apply = come_right_behind

    async def do(guard: Guard) -> None:
        rules.suffer()
        await until(lambda: rules.applied == 3 and rules.host == RULE)

    assert guarded(rules, do=do).repairs == {"rules": 2}


def test_whoever_removes_it_right_after_the_first_install_is_noticed_too() -> None:
    rules = Text("nftables", RULE)

    def come_right_behind(text: Text) -> None:
        if text.applied == 1:
            text.host = ""

    rules.after_apply = come_right_behind

    async def do(guard: Guard) -> None:
        await until(lambda: rules.host == RULE)

    guarded(rules, do=do)


def test_a_tool_that_prints_our_rules_in_other_words_is_believed() -> None:
    rules = Text("iptables-nft", RULE)

    def reword(text: Text) -> None:
        text.host = text.host.replace("-j RETURN", "--jump RETURN")

    rules.after_apply = reword

    async def do(guard: Guard) -> None:
        rules.tell()
        await asyncio.sleep(0.2)
        assert rules.applied == 1
        rules.suffer()
        await until(lambda: rules.applied == 2)

    assert guarded(rules, do=do).repairs == {"rules": 1}


def test_a_route_that_this_host_cannot_have_is_not_fought_for() -> None:
    routes, rules = Text("routes", ROUTE), Text("nftables", RULE)
    routes.after_apply = lambda text: setattr(text, "host", "")

    async def do(guard: Guard) -> None:
        rules.tell()
        await asyncio.sleep(0.2)

    assert guarded(routes, rules, do=do).repairs == {}


def test_what_nobody_tells_of_is_seen_at_a_glance() -> None:
    rules = Text("iptables-nft", RULE + SET)

    async def do(guard: Guard) -> None:
        rules.host = RULE
        await asyncio.sleep(0.2)
        assert rules.host == RULE, "nobody told, and no glance showed it"
        rules.amiss = True
        await until(lambda: rules.host == rules.wanted)
        rules.amiss = False

    assert guarded(rules, do=do).repairs == {"sets": 1}


def test_a_fight_is_fought_slowly_and_told_with_who_is_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rules = Text("nftables", RULE)

    async def do(guard: Guard) -> None:
        for count in range(3):
            rules.suffer()
            await until(lambda count=count: rules.applied == count + 2)  # type: ignore[misc]
        rules.suffer()
        await until(lambda: guard.drift)
        assert guard.waits().keys() == {"rules"}
        assert await until(lambda: rules.applied == 5) > 0.25
        assert guard.waits() == {}

    with caplog.at_level(logging.WARNING):
        assert guarded(rules, do=do).repairs == {"rules": 4}
    told = [line for line in caplog.messages if "again and again" in line]
    assert told == [
        "somebody removes what is ours again and again; next repair: rules in 0.4 s. "
        "At the same hooks: ufw: x (nat OUTPUT)"
    ]


def test_a_fight_over_rules_does_not_keep_a_route_waiting() -> None:
    routes, rules = Text("routes", ROUTE), Text("nftables", RULE)

    async def do(guard: Guard) -> None:
        for count in range(3):
            rules.suffer()
            await until(lambda count=count: rules.applied == count + 2)  # type: ignore[misc]
        rules.suffer()
        await until(lambda: bool(guard.waits()))
        routes.suffer()
        assert await until(lambda: routes.host == ROUTE) < 0.2
        assert rules.host == ""
        await until(lambda: rules.host == RULE)

    assert guarded(routes, rules, do=do).repairs == {"rules": 4, "routes": 1}


def test_who_checks_besides_has_the_follower_wait_for_what_is_due_later() -> None:
    routes, rules = Text("routes", ROUTE), Text("nftables", RULE)

    async def do(guard: Guard) -> None:
        for count in range(4):
            routes.host = ""  # links are followed by somebody else, who checks
            await guard.check()
            assert (routes.host == ROUTE) is (count < 3)
        assert guard.drift
        await until(lambda: routes.host == ROUTE)

    assert guarded(routes, rules, do=do).repairs == {"routes": 4}


def test_a_look_that_fails_is_told_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    rules = Text("nftables", RULE)

    async def do(guard: Guard) -> None:
        rules.fails = 3
        rules.suffer()
        await until(lambda: rules.host == RULE)

    assert guarded(rules, do=do).repairs == {"rules": 1}
    assert caplog.text.count("could not be looked at") == 1
