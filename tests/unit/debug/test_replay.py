"""Decisions are joined to attempts: told as live events are, followed from name to connection."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

import pytest

from interceptor.capture.plan import Hook
from interceptor.debug import event, replay
from interceptor.debug.attempt import Attempt
from interceptor.debug.replay import Fate, Replayed

QUERY = Attempt(
    *(1, 1_700_000_000_000_000_000, Hook.OUTPUT, "eth0", "udp"),
    *(ip_address("192.0.2.10"), 4000, ip_address("198.51.100.53"), 53),
    message=b"asked",
)
CALL = replace(
    QUERY,
    number=2,
    protocol="tcp",
    destination=ip_address("203.0.113.7"),
    port=443,
    message=None,
    asked=0,
)
ANSWER = Fate("answer", 5, "host shop", name="shop.example", qtype="A", answers=("240.240.0.9",))


@dataclass
class Told:
    """A judge that knows one answer, captures one network, and remembers whom it was asked of."""

    answer: Fate
    calls: list[str] = field(default_factory=list)

    def query(self, attempt: Attempt) -> Fate:
        return self.answer

    def connection(self, attempt: Attempt) -> Fate:
        self.calls.append(str(attempt.destination))
        if attempt.destination in (ip_address("240.240.0.9"), ip_address("240.240.0.8")):
            return Fate("outbound", 7, "mesh address", to="127.0.0.1:15001", host="shop")
        return Fate("pass", 9, "nothing asks for it", to=f"{attempt.destination}:443")


def run(answer: Fate, call: Attempt = CALL) -> list[Replayed]:
    return list(replay.replay([QUERY, call], [0, 2], Told(answer)))


def test_a_connection_goes_where_the_new_answer_sends_it() -> None:
    """The capture is of a VM without an agent, where the name had another address."""
    _, call = run(ANSWER)
    assert (call.fate.verdict, call.fate.dialled) == ("outbound", "240.240.0.9:443")
    assert (call.fate.name, call.again) == ("shop.example", 2)


def test_an_address_that_is_still_among_the_answers_is_called_as_it_was() -> None:
    answer = replace(ANSWER, answers=("240.240.0.8", "240.240.0.9"))
    _, call = run(answer, replace(CALL, destination=ip_address("240.240.0.9")))
    assert (call.fate.verdict, call.fate.dialled) == ("outbound", "")


def test_a_name_of_nobody_leads_where_it_led() -> None:
    _, call = run(Fate("pass", 5, "nobody's", name="shop.example", qtype="A"))
    assert (call.fate.verdict, call.fate.name, call.fate.dialled) == ("pass", "shop.example", "")


def test_a_name_that_loses_its_address_is_told_with_the_connection() -> None:
    _, call = run(replace(ANSWER, verdict="nodata", answers=()))
    assert "shop.example would have no address" in call.fate.why
    assert call.fate.dialled == ""


def test_a_connection_that_no_query_led_to_is_judged_as_it_is() -> None:
    judge = Told(ANSWER)
    list(replay.replay([QUERY, replace(CALL, asked=-1)], [0, 0], judge))
    assert judge.calls == ["203.0.113.7"]


def test_aliases_and_the_other_family_are_no_addresses_to_call() -> None:
    answer = replace(ANSWER, answers=("shop.real.example", "2001:db8::1", "240.240.0.8"))
    assert replay.addresses(answer, 4) == [ip_address("240.240.0.8")]
    assert replay.addresses(replace(answer, qtype="SRV"), 4) == []


def test_what_is_told_is_an_event_like_a_live_one() -> None:
    one, _ = run(ANSWER)
    told = replay.tell(one)
    assert event.decode(event.encode(told)) == told
    assert (told.kind.value, told.plane, told.verdict) == ("dns", "replay", "answer")
    assert told.time_s == 1_700_000_000
    tree = replay.encode(one)
    assert tree["packet"] == 1
    assert event.decode(tree) == told


def test_a_line_tells_number_flow_fate_and_what_would_be_called_instead() -> None:
    _, call = run(ANSWER)
    line = replay.render(call)
    assert line.split()[0] == "2"
    for word in ("192.0.2.10:4000 → 203.0.113.7:443/tcp", "outbound → 127.0.0.1:15001", "rule 7"):
        assert word in line
    assert "sent 3 times" in line
    assert "240.240.0.9:443" in line
    assert "  replay" not in line


@pytest.mark.parametrize(
    "other",
    [
        {"verdict": "pass"},
        {"answers": ("240.240.0.1",)},
        {"host": "other"},
        {"to": "x"},
        {"endpoints": ("192.0.2.1:80",)},
        {"dialled": "192.0.2.1:80"},
        {"rcode": "BADVERS"},
    ],
)
def test_what_a_peer_would_notice_is_another_effect(other: dict[str, object]) -> None:
    assert replace(ANSWER, **other).effect != ANSWER.effect  # type: ignore[arg-type]


def test_the_order_of_answers_and_the_rule_s_words_are_none() -> None:
    one = replace(ANSWER, answers=("a", "b"))
    assert one.effect == replace(one, answers=("b", "a"), rule=7, why="else").effect


def test_a_summary_counts_verdicts_reasons_and_names() -> None:
    told = replay.summarize(run(ANSWER), 9, Counter({"not IP": 4}))
    assert (told.packets, told.attempts, told.again) == (9, 2, 2)
    assert told.verdicts == {"query answer": 1, "connection outbound": 1}
    assert told.reasons == {"rule 5: host shop": 1, "rule 7: mesh address": 1}
    assert told.names == {"shop.example": 1, "shop": 1}
    assert replay.encode_summary(told)["left"] == {"not IP": 4}
