"""What was told in an interval is counted by name, bounded, and what is missing is said."""

from __future__ import annotations

from interceptor.debug import event as events
from interceptor.debug.event import Event, Kind
from interceptor.debug.ranking import ROOM, Ranking


def asked(name: str, verdict: str = "answer", took_s: float | None = 1e-5) -> dict[str, object]:
    event = Event(1.0, Kind.DNS, "nfqueue", verdict, name=name, took_s=took_s, why="Service a/b")
    return events.encode(event)


def called(**fields: object) -> dict[str, object]:
    event = Event(1.0, Kind.CONNECTION, "ebpf", "outbound", destination="10.0.0.7", port=80)
    return events.encode(event) | fields


def test_names_are_counted_with_their_verdicts_and_times() -> None:
    told = Ranking()
    for number in range(100):
        told.take(asked("a.example", took_s=number / 1000))
    told.take(asked("a.example", "nodata", None))
    entry = told.names["a.example"]
    assert (entry.count, dict(entry.verdicts)) == (101, {"answer": 100, "nodata": 1})
    assert entry.quantile(0.5) == 0.05
    assert entry.quantile(0.99) == 0.099
    assert told.reasons["dns", "answer", "Service a/b"] == 100


def test_a_connection_is_for_a_host_where_one_is_known() -> None:
    told = Ranking()
    told.take(called())
    told.take(called(host="reviews.bookinfo", unit="shop.service"))
    told.take(called(destination="fd00::1"))
    assert list(told.services) == ["10.0.0.7:80", "reviews.bookinfo:80", "[fd00::1]:80"]
    assert dict(told.services["reviews.bookinfo:80"].callers) == {"shop.service": 1}


def test_the_sidecar_s_word_on_a_connection_is_its_time_and_no_other_connection() -> None:
    told = Ranking()
    told.take(called(host="reviews"))
    told.take(called(host="reviews", plane="sidecar", took_s=0.25, why="GET / 200"))
    told.take(called(host="details", plane="sidecar", took_s=0.25))
    assert list(told.services) == ["reviews:80"]
    assert (told.services["reviews:80"].count, told.services["reviews:80"].took_s) == (1, [0.25])
    assert sum(told.reasons.values()) == 1


def test_what_was_left_out_is_said_with_its_reason() -> None:
    told = Ranking()
    told.take({"left_out": 7})
    told.take({"left_out": 0, "note": "no ring"})
    told.take({"left_out": 3, "note": "no ring"})
    told.take({"kind": "dns"})
    assert (told.seen, told.left_out, list(told.notes)) == (0, 11, ["no ring"])


def test_there_is_room_for_so_many_names_and_the_others_are_counted() -> None:
    told = Ranking()
    for number in range(ROOM + 5):
        told.take(asked(f"{number}.example"))
    told.take(asked("0.example"))
    assert (len(told.names), told.crowded_out, told.seen) == (ROOM, 5, ROOM + 6)
    assert told.names["0.example"].count == 2


def test_nothing_known_of_the_times_is_no_time() -> None:
    told = Ranking()
    told.take(asked("a", took_s=None))
    assert told.names["a"].quantile(0.5) is None
