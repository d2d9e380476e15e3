"""The worker's share of the conversation, without a queue. The whole is tests/netns/dns."""

from __future__ import annotations

from ipaddress import ip_address

from interceptor.dns.frame import Change, Kind, Settings
from interceptor.dns.worker import Worker
from interceptor.mesh import record
from interceptor.mesh.model import Host, Locale
from interceptor.mesh.model import Kind as HostKind
from interceptor.mesh.outcome import Verdict

WITHOUT_QUEUE = Settings(-1, 1, 15053, 0)


def row(name: str, address: str = "10.0.0.1") -> tuple[str, bytes]:
    host = Host(name, "x", HostKind.SERVICE_ENTRY, (ip_address(address),))
    return name, record.encode(host)


def verdict(worker: Worker, name: str) -> Verdict:
    return worker.answers.decide(name, 1).verdict


def loaded(*names: str) -> Worker:
    worker = Worker(WITHOUT_QUEUE)
    worker.take(Kind.LOCALE, Locale())
    worker.take(Kind.LOAD, tuple(row(name) for name in names))
    worker.take(Kind.COMMIT, None)
    return worker


def test_a_table_counts_only_when_it_is_whole() -> None:
    worker = loaded("a.test")
    worker.take(Kind.LOCALE, Locale(ttl_s=9))
    worker.take(Kind.LOAD, (row("b.test"),))
    assert verdict(worker, "a.test") is Verdict.ANSWER
    assert verdict(worker, "b.test") is Verdict.PASS
    worker.take(Kind.COMMIT, None)
    assert verdict(worker, "a.test") is Verdict.PASS
    assert verdict(worker, "b.test") is Verdict.ANSWER
    assert worker.answers.locale.ttl_s == 9


def test_a_change_is_followed_by_every_way_in() -> None:
    worker = loaded("a.test")
    caches = [responder.cache for responder in (worker.local, worker.bridged, worker.stream)]
    worker.take(Kind.CHANGE, Change((row("b.test"),), ("a.test",)))
    assert verdict(worker, "a.test") is Verdict.PASS
    assert verdict(worker, "b.test") is Verdict.ANSWER
    for responder, cache in zip((worker.local, worker.bridged, worker.stream), caches, strict=True):
        assert responder.answers is worker.answers
        assert responder.cache is not cache


def test_a_commit_without_a_load_changes_nothing() -> None:
    worker = loaded("a.test")
    worker.take(Kind.COMMIT, None)
    assert verdict(worker, "a.test") is Verdict.ANSWER


def test_a_life_sign_tells_what_was_counted() -> None:
    worker = loaded("a.test", "b.test")
    worker.stream.respond(b"?")
    beat = worker.beat()
    assert beat.hosts == 2
    assert beat.queries == {("tcp", "odd-short", ""): 1}
