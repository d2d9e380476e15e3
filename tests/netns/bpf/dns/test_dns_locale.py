"""Locales that do not fit into the kernel's fields: nothing is answered wrongly for that."""

from __future__ import annotations

import random
from ipaddress import ip_address
from typing import Any

import pytest
from dnslib import DNSRecord

from interceptor.dns.responder import Responder
from interceptor.dns.suffix import choose
from interceptor.dns.wire import parse
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Host, Kind, Locale

pytestmark = pytest.mark.root

LONG = "n" * 63
A1, S1 = ip_address("10.0.0.1"), ip_address("fd00::1")
LOCALES = {
    "long namespace": Locale(LONG, search=("b",)),
    "long domain": Locale("vm", f"{LONG}.a.b", own_zones=("b",)),
    "many zones": Locale("vm", own_zones=(*(f"z{n}.long" for n in range(4)), "b", "vm")),
    "many searches": Locale("vm", search=(*(f"s{n}" for n in range(6)), "corp.test", "b")),
}


def table(locale: Locale, dice: random.Random) -> tuple[list[Host], list[str]]:
    """Hosts whose names collide, and names to ask for."""
    cluster = f"svc.{locale.domain}"
    ends = [f".{locale.namespace}.{cluster}", f".b.{cluster}", f".{cluster}", ".svc", ".b", ""]
    ends += [f".{one}" for one in (*locale.search[-2:], *locale.own_zones[-2:])]
    stems = ["a", "b", "a.b", "b.a", "x.a"]
    names = [stem + end for stem in stems for end in ends]
    kinds = [Kind.SERVICE, Kind.SERVICE, Kind.SERVICE_ENTRY]
    hosts = [
        Host(
            dice.choice(["", "", "", "*."]) + dice.choice(names),
            "x",
            dice.choice(kinds),
            tuple(dice.sample([A1, A1 + 1, S1], dice.randrange(1, 3))),
            extra_names=tuple(dice.sample(names, dice.randrange(2))),
        )
        for _ in range(6)
    ]
    known = [name.removeprefix("*.") for host in hosts for name in (host.name, *host.extra_names)]
    short = [".".join(name.split(".")[:count]) for name in known for count in (1, 2, 3, 4)]
    asked = {*known, *short, *(f"x.{name}" for name in known)}
    asked |= {name + dice.choice(ends) for name in short}
    return hosts, sorted(name for name in asked if len(name) < 126)


@pytest.mark.parametrize("shape", LOCALES)
def test_a_locale_without_room_costs_speed_and_no_answer(dns: Any, shape: str) -> None:
    dice, locale = random.Random(shape), LOCALES[shape]
    lost = choose(locale)
    assert not lost.is_own_cut or lost.problems
    verdicts: dict[str, int] = {}
    for _ in range(12):
        hosts, asked = table(locale, dice)
        answers = Answers.build(hosts, locale)
        dns.publish(answers)
        for name in asked:
            for kind in ("A", "TXT"):
                message = bytes(DNSRecord.question(name, kind).pack())
                verdict = judge(dns, answers, message)
                verdicts[verdict] = verdicts.get(verdict, 0) + 1
    assert verdicts.keys() >= {"handover", "pass"}
    assert ("answer" in verdicts) is not lost.is_domain_lost


def judge(dns: Any, answers: Answers, message: bytes) -> str:
    """The kernel's verdict, which may be the worker's turn where the worker has an answer."""
    fate = dns.ask(message)
    reply = Responder(answers, lambda: 0.0, 65535).find(message)
    verdict: str = fate.verdict
    if verdict == "answer":
        assert reply is not None
        assert fate.message in {message[:2] + reply.turned(n) for n in range(max(reply.turns, 1))}
    elif verdict == "pass" and reply is not None:
        match = answers.directory.find(parse(message).name)  # type: ignore[union-attr]
        assert match is not None
        assert match.search in choose(answers.locale).lost_searches
    return verdict
