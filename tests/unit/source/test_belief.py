from __future__ import annotations

from pathlib import Path

import pytest

from interceptor.config import Istiod, Mesh
from interceptor.source import belief as beliefs
from interceptor.source.belief import Belief
from interceptor.source.event import Event, Loaded, Rejected
from interceptor.source.moment import Moment
from interceptor.source.nds import NoNameTable
from interceptor.source.store import NAME, Store
from tests.controlplane import schema


def table(*names: str) -> bytes:
    made = schema.NameTable()
    for number, name in enumerate(names, 1):
        made.table[name].ips.append(f"10.0.0.{number}")
    data: bytes = made.SerializeToString()
    return data


class World:
    """A belief with a clock of its own."""

    def __init__(self, folder: Path, **mesh: object) -> None:
        self.now_s = 100.0
        self.path = folder / NAME
        istiod = Istiod(addresses=("cp.test:15012",), empty_after_s=60)
        self.mesh = Mesh(state_dir=folder, istiod=istiod, **mesh)
        self.start()

    def start(self) -> None:
        store = Store(self.path, "istiod", lambda: Moment(self.now_s, "boot", self.now_s))
        self.belief = Belief(self.mesh, store, lambda: self.now_s)

    def restart(self) -> None:
        self.belief.save(is_last=True)
        self.start()

    def after(self, seconds: float) -> list[Event]:
        self.now_s += seconds
        return self.belief.look()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def loaded(events: list[Event]) -> Loaded:
    (event,) = events
    assert isinstance(event, Loaded)
    return event


def rejected(events: list[Event]) -> Rejected:
    (event,) = events
    assert isinstance(event, Rejected)
    return event


def test_a_table_is_taken_and_then_its_changes(world: World) -> None:
    first = loaded(world.belief.take(table("a.test", "b.test")))
    assert sorted(host.name for host in first.difference.upserted) == ["a.test", "b.test"]
    second = loaded(world.belief.take(table("a.test", "c.test")))
    assert [host.name for host in second.difference.upserted] == ["c.test"]
    assert second.difference.removed == ("b.test",)
    assert world.belief.take(table("a.test", "c.test")) == []


def test_bytes_that_are_no_table_change_nothing(world: World) -> None:
    world.belief.take(table("a.test"))
    with pytest.raises(NoNameTable):
        world.belief.take(table("a.test")[:-2])
    event = rejected(world.belief.refuse("cut off"))
    assert event.problems[0].legal == "cut off; the one before holds"
    assert event.standing.held == 1
    assert world.belief.hosts == 1
    mended = loaded(world.belief.take(table("a.test")))
    assert (mended.problems, bool(mended.difference)) == ((), False)


def test_an_empty_table_after_a_full_one_is_believed_once_it_has_stood(world: World) -> None:
    world.belief.take(table("a.test"))
    event = rejected(world.belief.take(table()))
    assert (event.problems[0].value, event.standing.held) == ("empty", 1)
    assert world.after(59) == []
    assert world.belief.take(table()) == []  # said again: it does not begin anew
    gone = loaded(world.after(2))
    assert gone.difference.removed == ("a.test",)
    assert gone.problems == ()


def test_a_full_table_takes_an_empty_one_back(world: World) -> None:
    world.belief.take(table("a.test"))
    world.belief.take(table())
    world.now_s += 30
    back = loaded(world.belief.take(table("a.test")))
    assert (back.problems, bool(back.difference)) == ((), False)
    assert world.after(600) == []


def test_an_empty_table_is_not_believed_while_nobody_is_connected(world: World) -> None:
    world.belief.take(table("a.test"))
    world.belief.take(table())
    world.belief.lose("gone")
    assert isinstance(world.after(120)[0], Rejected)
    assert world.belief.hosts == 1
    world.belief.hear()
    assert world.belief.hosts == 1
    assert loaded(world.after(1)).difference.removed == ("a.test",)


def test_an_empty_table_that_is_meant_counts_at_once(tmp_path: Path) -> None:
    world = World(tmp_path, allow_empty=True)
    world.belief.take(table("a.test"))
    assert loaded(world.belief.take(table())).difference.removed == ("a.test",)


def test_an_empty_table_is_the_first_one_where_there_was_none(world: World) -> None:
    assert loaded(world.belief.take(table())).table.hosts == {}


def test_silence_is_told_once_and_ends(world: World) -> None:
    world.belief.take(table("a.test"))
    world.belief.lose("cp.test:15012: refused")
    assert world.after(beliefs.LOST_S - 1) == []
    event = rejected(world.after(2))
    assert (event.problems[0].value, event.problems[0].legal) == (
        "cp.test:15012",
        "cp.test:15012: refused",
    )
    world.belief.lose("another reason")
    assert world.after(30) == []
    world.belief.hear()
    assert loaded(world.belief.look()).problems == ()


def test_the_last_good_table_is_recalled_where_the_control_plane_is_away(world: World) -> None:
    world.belief.take(table("a.test"))
    world.restart()
    world.belief.lose("refused")
    assert world.belief.look() == []  # it may be there in a moment
    told, found = world.after(beliefs.FIRST_S)
    assert isinstance(told, Rejected)
    assert isinstance(found, Loaded)
    assert list(found.table.hosts) == ["a.test"]
    assert (found.standing.held, found.standing.recalled) == (1, 1)
    live = loaded(world.belief.take(table("a.test", "b.test")))
    assert [host.name for host in live.difference.upserted] == ["b.test"]
    assert (live.standing.recalled, live.problems) == (0, ())


def test_a_control_plane_that_is_empty_at_the_start_does_not_undo_what_was(world: World) -> None:
    world.belief.take(table("a.test"))
    world.restart()
    told, found = world.belief.take(table())
    assert isinstance(told, Rejected)
    assert isinstance(found, Loaded)
    assert list(found.table.hosts) == ["a.test"]


def test_without_anything_the_daemon_is_told_why(world: World) -> None:
    assert world.belief.look() == []
    event = rejected(world.after(beliefs.FIRST_S))
    assert (event.problems[0].legal, event.standing.held) == ("no name table yet", 0)


def test_a_table_that_is_too_old_is_a_problem_of_its_own(world: World) -> None:
    world.belief.take(table("a.test"))
    world.belief.save()
    world.belief.lose("refused")
    world.after(beliefs.LOST_S)
    (event,) = world.after(90_000)
    assert [each.key for each in event.problems] == ["mesh.istiod.addresses", "mesh.max_stale_s"]


def test_a_file_that_is_damaged_recalls_nothing(world: World) -> None:
    world.belief.take(table("a.test"))
    world.belief.save(is_last=True)
    world.path.write_bytes(world.path.read_bytes()[:-3])
    assert beliefs.recall(Store(world.path, "istiod")).hosts == {}
    assert beliefs.recall(Store(None)).hosts == {}


def test_what_is_written_is_the_newest(world: World) -> None:
    world.belief.take(table("a.test"))
    assert world.belief.is_unsaved
    world.belief.save()
    world.belief.take(table("b.test"))
    world.belief.save(is_last=True)
    store = Store(world.path, "istiod")
    assert list(beliefs.recall(store).hosts) == ["b.test"]
    store.close()
