"""The pure parts of the chaos suite: schedules can be replayed, and the judge can say no."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.chaos import lookup, mesh, schedule
from tests.chaos.judge import Judge
from tests.chaos.mesh import History
from tests.chaos.record import LOST, Record, What, decode, encode
from tests.chaos.schedule import AGAINST_RULES, FIGHT, FIGHT_S, NEW_LIFE, Kind
from tests.chaos.window import Effect, Ledger

BACKENDS = ("iptables", "nftables", "ebpf")
WWW = "www.corp.example A"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_seed_is_one_schedule_and_another_seed_another_one(backend: str) -> None:
    steps = schedule.draw(7, backend, 200)
    assert steps == schedule.draw(7, backend, 200)
    assert steps != schedule.draw(8, backend, 200)
    assert schedule.decode("# seed 7\n" + schedule.encode(steps)) == steps


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_long_schedule_has_every_kind_of_fault_and_faults_that_overlap(backend: str) -> None:
    steps = schedule.draw(1, backend, 600)
    assert {step.kind for step in steps} == set(Kind)
    removed = {step.variant for step in steps if step.kind is Kind.FLUSH}
    assert removed == set(schedule.REMOVALS[backend])
    assert any(one.at_s + one.length_s > other.at_s for one, other in pairwise(steps))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_schedule_does_not_look_like_a_fight_to_any_one_daemon(backend: str) -> None:
    against: list[float] = []
    for step in schedule.draw(3, backend, 600):
        if step.kind in NEW_LIFE:
            against = []
        elif step.kind in AGAINST_RULES:
            against = [when for when in against if step.at_s - when < FIGHT_S - 0.01]
            against.append(step.at_s)
            assert len(against) <= FIGHT


def test_a_record_survives_being_written() -> None:
    one = Record(What.MESH_UDP, 1.5, 2.5, "h1.move.example A", "0 198.19.1.0", (1.5, 2.0), 3)
    assert decode(encode(one)) == one


def test_a_reply_is_read_to_its_addresses() -> None:
    query = lookup.encode(WWW)
    record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x4d\x00\x3d"
    reply = query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:] + record
    assert lookup.decode(reply, query) == "0 10.77.0.61"
    with pytest.raises(ValueError, match="not a reply"):
        lookup.decode(query, query)
    with pytest.raises(ValueError, match="another question"):
        lookup.decode(reply, query[:2] + lookup.encode("ww2.corp.example A")[2:])


def judge(*, opened: tuple[Effect, float, float, float] | None = None) -> Judge:
    """A judge of one fault: its effect, begin, end, and how long after that it may be seen."""
    ledger = Ledger()
    if opened is not None:
        effect, begin_s, end_s, after_s = opened
        ledger.note("fault", begin_s, end_s, {effect: after_s})
    return Judge(ledger, History(0.0))


def heard(one: Judge, *records: Record) -> tuple[int, int]:
    """How many of them are wrong, and how many may not be for another reason."""
    for record in records:
        one.hear(record)
    return len(one.tally.wrong), len(one.tally.broken)


def test_another_s_answer_is_wrong_whatever_happens() -> None:
    one = judge(opened=(Effect.LOSE, 0, 100, 0))
    good = Record(What.OTHER_UDP, 10, 10.1, WWW, "0 10.77.0.61", (10,))
    bad = Record(What.OTHER_UDP, 10, 10.1, WWW, "0 192.0.2.50", (10,))
    servfail = Record(What.OTHER_TCP, 10, 10.1, WWW, "2", (10,))
    assert heard(one, good) == (0, 0)
    assert heard(one, bad, servfail) == (2, 0)


def test_a_query_without_an_answer_needs_a_fault_at_its_time() -> None:
    late = Record(What.OTHER_UDP, 10, 15.1, WWW, "0 10.77.0.61", (10.0, 15.0))
    assert heard(judge(opened=(Effect.LOSE, 9.9, 10.5, 0)), late) == (0, 0)
    assert heard(judge(opened=(Effect.LOSE, 11, 12, 0)), late) == (0, 1)
    assert heard(judge(), late) == (0, 1)


def test_a_whole_lookup_is_lost_only_where_it_would_be_without_us() -> None:
    lost = Record(What.OTHER_TCP, 10, 11, WWW, LOST, (10.0, 10.5))
    assert heard(judge(opened=(Effect.LOSE, 9, 12, 0)), lost) == (0, 0)
    assert heard(judge(opened=(Effect.LOSE_QUEUED, 9, 12, 0)), lost) == (0, 1)


def test_a_mesh_name_passes_only_within_what_was_promised() -> None:
    name = f"{mesh.WEB} A"
    passed = Record(What.MESH_UDP, 12.5, 12.6, name, "3", (12.5,))
    assert heard(judge(opened=(Effect.PASS_UDP, 10, 10.2, 2.5)), passed) == (0, 0)
    assert heard(judge(opened=(Effect.PASS_UDP, 10, 10.2, 1.5)), passed) == (0, 1)
    assert heard(judge(opened=(Effect.PASS_TCP, 10, 10.2, 2.5)), passed) == (0, 1)


def test_a_promise_counts_anew_when_the_agent_was_away() -> None:
    ledger = Ledger()
    ledger.note("flush", 10, 10.1, {Effect.PASS_UDP: 2.0})
    assert not ledger.allows(Effect.PASS_UDP, 16, 16)
    ledger.note("agent-kill", 11, 15, {Effect.AWAY: 0.0})
    assert ledger.allows(Effect.PASS_UDP, 16, 16)
    assert not ledger.allows(Effect.PASS_UDP, 17.5, 17.5)
    ledger.note("agent-kill", 18, 19, {Effect.AWAY: 0.0})
    assert not ledger.allows(Effect.PASS_UDP, 19.5, 19.5), "it was kept before that one"


def test_no_absence_of_ours_makes_the_host_s_own_losses_longer() -> None:
    ledger = Ledger()
    ledger.note("link-down", 10, 11, {Effect.LOSE: 1.0})
    ledger.note("agent-kill", 10, 20, {Effect.AWAY: 0.0})
    assert ledger.allows(Effect.LOSE, 11.5, 11.6)
    assert not ledger.allows(Effect.LOSE, 15, 15.1)


def test_an_address_is_right_until_its_change_must_be_known() -> None:
    ledger, history = Ledger(), History(0.0)
    one = Judge(ledger, history)
    history.tell(3, 100.0, 1)
    old, new = (" ".join(("0", mesh.addresses(3, n)[0])) for n in (0, 1))

    def at(when_s: float, got: str) -> Record:
        return Record(What.MESH_UDP, when_s, when_s + 0.1, "h3.move.example A", got, (when_s,))

    assert heard(one, at(99, old), at(100.1, old), at(100.1, new), at(103, new)) == (0, 0)
    assert heard(one, at(103, old)) == (1, 0)
    assert heard(one, at(99, new)) == (2, 0), "nobody can know it before"
    ledger.note("agent-kill", 101, 110, {Effect.AWAY: 0.0})
    assert heard(one, at(103, old)) == (2, 0)


def test_a_host_that_is_gone_passes_and_one_that_is_not_does_not() -> None:
    history = History(0.0)
    one = Judge(Ledger(), history)
    gone = Record(What.MESH_UDP, 10, 10.1, "h3.move.example A", "3", (10,))
    assert heard(one, gone) == (0, 1)
    history.tell(3, 9.0, None)
    assert heard(one, gone) == (0, 1)


def test_ssh_that_is_captured_is_wrong_and_a_kept_one_never_breaks() -> None:
    one = judge(opened=(Effect.BREAK, 0, 100, 0))
    assert heard(one, Record(What.SSH, 1, 2, "10.77.0.10 22", "direct")) == (0, 0)
    between = Record(What.SSH, 1, 2, "10.77.0.10 22", "between: a 1 is seen as b 2")
    assert heard(one, between) == (1, 0)
    broke = "ConnectionResetError"
    assert heard(one, Record(What.STREAM, 1, 50, "v 7000", broke, (), 9)) == (1, 0)
    assert heard(one, Record(What.KEPT_SSH, 1, 50, "v 22", broke, (), 9)) == (1, 1)


def test_a_captured_port_that_is_not_captured_breaks_the_promise() -> None:
    direct = Record(What.INBOUND, 10, 11, "10.77.0.10 8080", "direct")
    assert heard(judge(), direct) == (0, 1)
    assert heard(judge(opened=(Effect.CALL, 9, 10, 2)), direct) == (0, 0)


def test_a_call_is_answered_by_a_backend_of_its_service() -> None:
    history = History(0.0)
    one = Judge(Ledger(), history)
    history.tell_pool(10.0, ("10.77.0.41",))

    def at(when_s: float, got: str) -> Record:
        return Record(What.HTTP, when_s, when_s + 0.1, mesh.POOL_VIP, got)

    assert heard(one, at(9, "200 reviews-v2"), at(11, "200 reviews-v2")) == (0, 0)
    assert heard(one, at(13, "200 reviews-v1")) == (0, 0)
    assert heard(one, at(13, "200 reviews-v2")) == (1, 0)
    assert heard(one, at(13, "503 no healthy upstream")) == (1, 1)
