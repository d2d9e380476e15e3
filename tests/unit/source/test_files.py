from __future__ import annotations

import asyncio
import functools
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path

import pytest

from interceptor import config
from interceptor.errors import ConfigError, Problem
from interceptor.mesh.table import Difference
from interceptor.source import files, listing
from interceptor.source.event import Event, Loaded, Rejected
from interceptor.source.store import NAME, Store

WAIT_S = 10.0
NODE = config.Node(namespace="vm")


def entry(name: str, address: str = "") -> str:
    addresses = f"addresses: [{address}], " if address else ""
    return (
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n"
        f"metadata: {{name: {name}}}\n"
        f"spec: {{hosts: [{name}.example], {addresses}resolution: STATIC}}\n"
    )


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A test that needs an event loop, with a limit on all of it."""

    @functools.wraps(test)
    def run(*arguments: object, **fixtures: object) -> None:
        async def limited() -> None:
            await asyncio.wait_for(test(*arguments, **fixtures), 3 * WAIT_S)

        asyncio.run(limited())

    return run


@pytest.fixture
def mesh(tmp_path: Path) -> config.Mesh:
    (tmp_path / "mesh").mkdir()
    return config.Mesh(files=(tmp_path / "mesh",), state_dir=tmp_path / "state")


def folder(mesh: config.Mesh) -> Path:
    return mesh.files[0]


class Stream:
    """The events of a watch, each awaited with a limit."""

    def __init__(self, events: AsyncIterator[Event]) -> None:
        self._events = events

    async def next(self) -> Event:
        return await asyncio.wait_for(anext(self._events), WAIT_S)

    async def loaded(self) -> Loaded:
        event = await self.next()
        assert isinstance(event, Loaded), event
        return event

    async def rejected(self) -> Rejected:
        event = await self.next()
        assert isinstance(event, Rejected), event
        return event


# --- load


def test_every_document_file_below_a_folder_is_read(mesh: config.Mesh) -> None:
    (folder(mesh) / "sub").mkdir()
    for name in ("a.yaml", "sub/b.yml", "c.json", "d.txt", ".e.yaml", "f.yaml~"):
        text = entry(Path(name).stem.strip(".")[0])
        (folder(mesh) / name).write_text(text)
    assert set(files.load(mesh, NODE).hosts) == {"a.example", "b.example", "c.example"}


def test_an_empty_folder_is_an_empty_table(mesh: config.Mesh) -> None:
    assert len(files.load(mesh, NODE)) == 0


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        files.load(config.Mesh(files=(tmp_path / "none",), state_dir=tmp_path), NODE)
    (problem,) = caught.value.problems
    assert (problem.key, problem.value) == ("mesh.files", str(tmp_path / "none"))


def test_problems_of_all_files_are_told_at_once(mesh: config.Mesh) -> None:
    (folder(mesh) / "a.yaml").write_text("a: [")
    (folder(mesh) / "b.yaml").write_text(entry("UPPER"))
    with pytest.raises(ConfigError) as caught:
        files.load(mesh, NODE)
    assert [Path(problem.where).name for problem in caught.value.problems] == ["a.yaml", "b.yaml"]


def test_loading_writes_nothing(mesh: config.Mesh) -> None:
    (folder(mesh) / "a.yaml").write_text(entry("a"))
    assert files.load(mesh, NODE).hosts["a.example"].virtual
    assert not mesh.state_dir.exists()


def test_loading_agrees_with_the_daemon_even_where_names_collide(tmp_path: Path) -> None:
    (tmp_path / "mesh").mkdir()
    ranges = config.VipRanges.model_validate({"ipv4": "240.0.0.0/28", "ipv6": "fd00::/120"})
    mesh = config.Mesh(files=(tmp_path / "mesh",), state_dir=tmp_path / "s", vip_ranges=ranges)
    for name in "lkjihgfedcba":  # in the order that makes later names collide
        (tmp_path / "mesh" / f"{name}.yaml").write_text(entry(name))
        shelf = files.Shelf(mesh, NODE)
        (event,) = shelf.look(frozenset())
        assert isinstance(event, Loaded)
        shelf.save()
        assert dict(files.load(mesh, NODE).hosts) == dict(event.table.hosts)
    shutil.rmtree(mesh.state_dir)
    assert dict(files.load(mesh, NODE).hosts) != dict(event.table.hosts)


# --- watch


@in_loop
async def test_changes_are_told_as_differences(mesh: config.Mesh) -> None:
    (folder(mesh) / "a.yaml").write_text(entry("a"))
    async with aclosing(files.watch(mesh, NODE)) as events:
        stream = Stream(events)
        first = await stream.loaded()
        assert [host.name for host in first.difference.upserted] == ["a.example"]
        (folder(mesh) / "b.yaml").write_text(entry("b", "10.0.0.1"))
        second = await stream.loaded()
        assert [host.name for host in second.difference.upserted] == ["b.example"]
        assert set(second.table.hosts) == {"a.example", "b.example"}
        (folder(mesh) / "a.yaml").unlink()
        third = await stream.loaded()
        assert third.difference.removed == ("a.example",)


@in_loop
async def test_vips_are_written_down(mesh: config.Mesh) -> None:
    (folder(mesh) / "a.yaml").write_text(entry("a"))
    async with aclosing(files.watch(mesh, NODE)) as events:
        table = (await Stream(events).loaded()).table
    assert b"a.example" in (mesh.state_dir / "vips.json").read_bytes()
    assert files.load(mesh, NODE).hosts["a.example"] == table.hosts["a.example"]


@in_loop
async def test_a_wrong_file_keeps_what_it_said_and_the_others_go_on(mesh: config.Mesh) -> None:
    (folder(mesh) / "a.yaml").write_text(entry("a"))
    async with aclosing(files.watch(mesh, NODE)) as events:
        stream = Stream(events)
        await stream.loaded()
        (folder(mesh) / "a.yaml").write_text(entry("a", "300.0.0.1"))
        event = await stream.rejected()
        assert [(problem.line, problem.key) for problem in event.problems] == [
            (4, "spec.addresses[0]")
        ]
        (folder(mesh) / "b.yaml").write_text(entry("b"))
        assert set((await stream.loaded()).table.hosts) == {"a.example", "b.example"}
        (folder(mesh) / "a.yaml").write_text(entry("a"))
        mended = await stream.loaded()
        assert not mended.difference


@in_loop
async def test_a_wrong_file_at_the_start_leaves_the_others_in_force(mesh: config.Mesh) -> None:
    (folder(mesh) / "a.yaml").write_text("a: [")
    (folder(mesh) / "b.yaml").write_text(entry("b"))
    async with aclosing(files.watch(mesh, NODE)) as events:
        stream = Stream(events)
        await stream.rejected()
        assert set((await stream.loaded()).table.hosts) == {"b.example"}


@in_loop
async def test_a_folder_that_comes_late_is_found(tmp_path: Path) -> None:
    late = tmp_path / "x/mesh"
    async with aclosing(
        files.watch(config.Mesh(files=(late,), state_dir=tmp_path), NODE)
    ) as events:
        stream = Stream(events)
        await stream.rejected()
        assert len((await stream.loaded()).table) == 0
        late.mkdir(parents=True)
        (late / "a.yaml").write_text(entry("a"))
        while not len((await stream.loaded()).table):
            pass


@in_loop
async def test_a_single_file_that_vanishes_keeps_its_hosts(tmp_path: Path) -> None:
    path = tmp_path / "mesh.yaml"
    path.write_text(entry("a"))
    async with aclosing(
        files.watch(config.Mesh(files=(path,), state_dir=tmp_path), NODE)
    ) as events:
        stream = Stream(events)
        await stream.loaded()
        path.unlink()
        await stream.rejected()
        path.write_text(entry("a", "10.0.0.1"))
        event = await stream.loaded()
        assert [host.name for host in event.difference.upserted] == ["a.example"]
        assert event.difference.removed == ()


@in_loop
async def test_a_config_map_is_swapped_as_one(tmp_path: Path) -> None:
    """Kubernetes mounts: files link to ..data/, which links to a folder with a date."""
    mount = tmp_path / "mesh"
    mount.mkdir()

    def version(name: str, address: str) -> None:
        (mount / name).mkdir()
        (mount / name / "a.yaml").write_text(entry("a", address))
        os.symlink(name, mount / "..data_tmp")
        os.rename(mount / "..data_tmp", mount / "..data")

    version("..2026_01", "10.0.0.1")
    os.symlink("..data/a.yaml", mount / "a.yaml")
    async with aclosing(
        files.watch(config.Mesh(files=(mount,), state_dir=tmp_path), NODE)
    ) as events:
        stream = Stream(events)
        assert len((await stream.loaded()).table) == 1
        version("..2026_02", "10.0.0.2")
        event = await stream.loaded()
        assert [str(a) for a in event.table.hosts["a.example"].addresses] == ["10.0.0.2"]


@in_loop
async def test_an_editor_that_renames_never_takes_a_host_away(mesh: config.Mesh) -> None:
    path = folder(mesh) / "a.yaml"
    path.write_text(entry("a"))
    async with aclosing(files.watch(mesh, NODE)) as events:
        stream = Stream(events)
        await stream.loaded()
        path.rename(folder(mesh) / "a.yaml~")
        await asyncio.sleep(0.005)
        path.write_text(entry("a", "10.0.0.1"))
        event = await stream.loaded()
        assert event.difference.removed == ()
        assert event.table.hosts["a.example"].addresses


@in_loop
async def test_a_file_is_not_read_while_it_is_being_written(mesh: config.Mesh) -> None:
    path = folder(mesh) / "a.yaml"
    path.write_text(entry("a") + "---\n" + entry("b"))
    async with aclosing(files.watch(mesh, NODE)) as events:
        stream = Stream(events)
        await stream.loaded()
        with path.open("w") as file:  # truncates: nobody is there for a moment
            (folder(mesh) / "unrelated").touch()
            for part in (entry("a"), "---\n", entry("b", "10.0.0.1")):
                await asyncio.sleep(0.01)
                file.write(part)
                file.flush()
        event = await stream.loaded()
        assert event.difference.removed == ()
        assert [host.name for host in event.difference.upserted] == ["b.example"]


def test_kinds_of_others_cost_one_line_in_the_log(
    mesh: config.Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    document = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\n---\n"
    text = "".join(document.replace("NAME", f"c{number}") for number in range(7))
    (folder(mesh) / "a.yaml").write_text(text)
    with caplog.at_level("INFO"):
        files.load(mesh, NODE)
    (record,) = caplog.records
    assert record.getMessage().endswith("ConfigMap default/c4 and 2 more")


# --- the last good documents


async def started(mesh: config.Mesh) -> tuple[Loaded, tuple[Problem, ...]]:
    """The first table of a daemon that starts now, and what it finds wrong."""
    async with aclosing(files.watch(mesh, NODE)) as events:
        stream = Stream(events)
        event = await stream.next()
        if isinstance(event, Rejected):
            return await stream.loaded(), event.problems
        return event, ()


def fill(mesh: config.Mesh, *names: str) -> None:
    for name in names:
        (folder(mesh) / f"{name}.yaml").write_text(entry(name))


def remove_folder(path: Path) -> None:
    shutil.rmtree(path)


def remove_files(path: Path) -> None:
    for file in path.iterdir():
        file.unlink()


def break_files(path: Path) -> None:
    for file in path.iterdir():
        file.write_text("a: [")


def cut_files(path: Path) -> None:
    for file in path.iterdir():
        file.write_bytes(b"")


@pytest.mark.parametrize("lose", [remove_folder, remove_files, break_files, cut_files])
def test_a_start_without_a_source_takes_the_last_good_table(
    mesh: config.Mesh, lose: Callable[[Path], None]
) -> None:
    fill(mesh, "a", "b")
    before, problems = asyncio.run(started(mesh))
    assert not problems
    assert before.standing.held == 0
    lose(folder(mesh))
    loaded, problems = asyncio.run(started(mesh))
    assert problems == loaded.problems != ()
    assert dict(loaded.table.hosts) == dict(before.table.hosts)
    assert (loaded.standing.held, loaded.standing.recalled) == (2, 2)
    assert 0 < loaded.standing.age_s < 60
    # And the next one, too: a daemon that found nothing has not forgotten what there was.
    again, _ = asyncio.run(started(mesh))
    assert dict(again.table.hosts) == dict(before.table.hosts)
    folder(mesh).mkdir(exist_ok=True)
    remove_files(folder(mesh))
    fill(mesh, "c")
    loaded, problems = asyncio.run(started(mesh))
    assert not problems
    assert set(loaded.table.hosts) == {"c.example"}


def test_one_broken_file_says_after_a_restart_what_it_last_said(mesh: config.Mesh) -> None:
    fill(mesh, "a", "b", "c")
    asyncio.run(started(mesh))
    (folder(mesh) / "b.yaml").write_text("b: [")
    (folder(mesh) / "c.yaml").unlink()
    loaded, (problem,) = asyncio.run(started(mesh))
    assert Path(problem.where).name == "b.yaml"
    assert set(loaded.table.hosts) == {"a.example", "b.example"}, "one file of several is removed"
    assert (loaded.standing.held, loaded.standing.recalled) == (1, 1)


def test_a_change_right_before_a_slip_and_a_crash_is_not_lost(mesh: config.Mesh) -> None:
    (folder(mesh) / "a.yaml").write_text(entry("a", "10.0.0.1"))
    asyncio.run(started(mesh))
    (folder(mesh) / "a.yaml").write_text(entry("a", "10.0.0.2"))
    shelf = files.Shelf(mesh, NODE, Store(mesh.state_dir / NAME, "files"))
    shelf.look(frozenset())
    assert shelf.is_unsaved
    shelf.save()
    (folder(mesh) / "a.yaml").write_text("a: [")
    loaded, _ = asyncio.run(started(mesh))
    assert [str(one) for one in loaded.table.hosts["a.example"].addresses] == ["10.0.0.2"]


def test_an_empty_mesh_that_is_meant_counts(mesh: config.Mesh) -> None:
    fill(mesh, "a")
    asyncio.run(started(mesh))
    remove_files(folder(mesh))
    (folder(mesh) / "none.yaml").write_text("# none\n")
    loaded, problems = asyncio.run(started(mesh))
    assert (len(loaded.table), problems) == (0, ())
    fill(mesh, "a")
    (folder(mesh) / "none.yaml").unlink()
    asyncio.run(started(mesh))
    remove_files(folder(mesh))
    allowing = mesh.model_copy(update={"allow_empty": True})
    loaded, problems = asyncio.run(started(allowing))
    assert (len(loaded.table), problems) == (0, ())
    loaded, problems = asyncio.run(started(mesh))
    assert (len(loaded.table), problems) == (0, ()), "it was right that there was none"


@in_loop
async def test_a_folder_that_loses_everything_keeps_it_until_something_is_there(
    mesh: config.Mesh,
) -> None:
    fill(mesh, "a", "b")
    async with aclosing(files.watch(mesh, NODE)) as events:
        stream = Stream(events)
        await stream.loaded()
        remove_files(folder(mesh))
        event = await stream.rejected()
        assert "at least one file" in event.problems[0].legal
        assert (event.standing.held, event.standing.recalled) == (2, 0)
        fill(mesh, "c")
        names: set[str] = set()
        while names != {"c.example"}:
            names = set((await stream.loaded()).table.hosts)


@in_loop
async def test_a_folder_that_is_taken_away_and_brought_back_changes_nothing(
    mesh: config.Mesh, tmp_path: Path
) -> None:
    fill(mesh, "a")
    async with aclosing(files.watch(mesh, NODE)) as events:
        stream = Stream(events)
        await stream.loaded()
        folder(mesh).rename(tmp_path / "away")
        assert (await stream.rejected()).standing.held == 1
        (tmp_path / "away").rename(folder(mesh))
        event = await stream.loaded()
        assert (event.difference, event.standing.held) == (Difference(), 0)


@in_loop
async def test_a_file_of_zero_bytes_is_a_full_disk_s_doing(mesh: config.Mesh) -> None:
    fill(mesh, "a", "b")
    async with aclosing(files.watch(mesh, NODE)) as events:
        stream = Stream(events)
        await stream.loaded()
        (folder(mesh) / "a.yaml").write_bytes(b"")
        assert (await stream.rejected()).problems[0].value == "0 bytes"
        (folder(mesh) / "a.yaml").write_text("# none\n")
        event = await stream.loaded()
        assert event.difference.removed == ("a.example",)


@in_loop
async def test_a_file_that_is_too_large_is_told_and_not_read(mesh: config.Mesh) -> None:
    fill(mesh, "a", "b")
    small = mesh.model_copy(update={"max_file_bytes": 1024})
    with (folder(mesh) / "a.yaml").open("wb") as file:
        file.truncate(2 << 30)
    async with aclosing(files.watch(small, NODE)) as events:
        stream = Stream(events)
        assert "at most 1024 bytes" in (await stream.rejected()).problems[0].legal
        assert set((await stream.loaded()).table.hosts) == {"b.example"}


@in_loop
async def test_a_pipe_among_the_files_keeps_nobody_waiting(mesh: config.Mesh) -> None:
    fill(mesh, "b")
    os.mkfifo(folder(mesh) / "a.yaml")
    async with aclosing(files.watch(mesh, NODE)) as events:
        stream = Stream(events)
        assert (await stream.rejected()).problems[0].value == "no regular file"
        assert set((await stream.loaded()).table.hosts) == {"b.example"}


def test_a_file_that_cannot_be_opened_now_is_read_as_soon_as_it_can(
    mesh: config.Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(mesh, "a")
    shelf = files.Shelf(mesh, NODE)

    def refuse(path: str, _limit: int) -> bytes:
        raise OSError(24, "Too many open files", path)

    with monkeypatch.context() as patch:
        patch.setattr(listing, "recv", refuse)
        assert isinstance(shelf.look(frozenset())[0], Rejected)
        assert shelf.look(frozenset()) == []
    while not (events := shelf.look(frozenset())):
        pass
    assert [type(event) for event in events] == [Loaded]


def test_a_file_that_there_is_no_memory_for_is_tried_again_later(
    mesh: config.Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(mesh, "a")
    now = [100.0]
    shelf = files.Shelf(mesh, NODE, clock=lambda: now[0])

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(files.parse, "parse", fail)
        (rejected, _) = shelf.look(frozenset())
        assert isinstance(rejected, Rejected)
        assert "memory" in rejected.problems[0].legal
    assert shelf.look(frozenset()) == []
    now[0] += 60
    assert shelf.look(frozenset()) == []
    now[0] += 1
    (event,) = shelf.look(frozenset())
    assert isinstance(event, Loaded)
    assert set(event.table.hosts) == {"a.example"}


def test_a_last_good_table_that_is_too_old_is_told_and_used(mesh: config.Mesh) -> None:
    strict = mesh.model_copy(update={"max_stale_s": 1})
    fill(mesh, "a")
    asyncio.run(started(mesh))
    shutil.rmtree(folder(mesh))
    time.sleep(1.1)
    loaded, problems = asyncio.run(started(strict))
    assert [problem.key for problem in problems] == ["mesh.files", "mesh.max_stale_s"]
    assert set(loaded.table.hosts) == {"a.example"}


@pytest.mark.parametrize("harm", ["cut", "flip", "remove", "directory"])
def test_a_state_that_is_damaged_is_no_worse_than_none(
    mesh: config.Mesh, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill(mesh, "a")
    asyncio.run(started(mesh))
    path = mesh.state_dir / NAME
    data = path.read_bytes()
    path.unlink()
    if harm == "cut":
        path.write_bytes(data[:100])
    elif harm == "flip":
        path.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    elif harm == "directory":
        path.mkdir()
    loaded, problems = asyncio.run(started(mesh))
    assert (set(loaded.table.hosts), problems) == ({"a.example"}, ())
    remove_folder(folder(mesh))
    loaded, problems = asyncio.run(started(mesh))
    assert problems
    assert set(loaded.table.hosts) == (set() if harm == "directory" else {"a.example"})


def test_a_folder_that_a_daemon_before_had_and_this_one_has_not_is_forgotten(
    mesh: config.Mesh, tmp_path: Path
) -> None:
    fill(mesh, "a")
    asyncio.run(started(mesh))
    (tmp_path / "other").mkdir()
    other = mesh.model_copy(update={"files": (tmp_path / "other",)})
    loaded, problems = asyncio.run(started(other))
    assert (len(loaded.table), problems) == (0, ())


def test_looks_and_saves_may_meet(mesh: config.Mesh) -> None:
    """Saving goes over every VIP while looking hands out more of them."""
    (folder(mesh) / "a.yaml").write_text("---\n".join(entry(f"h{n}") for n in range(300)))
    shelf = files.Shelf(mesh, NODE, Store(mesh.state_dir / NAME, "files"))
    with ThreadPoolExecutor(1) as pool:
        for number in range(20):
            fill(mesh, f"b{number}")
            saving = pool.submit(shelf.save, is_last=False)
            shelf.look(frozenset({str(folder(mesh) / f"b{number}.yaml")}))
            saving.result()
    shelf.save(is_last=True)
    assert b"b19.example" in (mesh.state_dir / "vips.json").read_bytes()


def test_what_a_refused_file_last_said_is_recalled_without_a_daemon(mesh: config.Mesh) -> None:
    fill(mesh, "a", "b")
    before, _ = asyncio.run(started(mesh))
    assert files.recall(mesh, NODE)[1] == ()
    (folder(mesh) / "b.yaml").write_text("b: [")
    was = {path: path.read_bytes() for path in mesh.state_dir.iterdir()}
    table, (problem,) = files.recall(mesh, NODE)
    assert Path(problem.where).name == "b.yaml"
    assert dict(table.hosts) == dict(before.table.hosts)
    assert {path: path.read_bytes() for path in mesh.state_dir.iterdir()} == was
