from __future__ import annotations

import asyncio
import functools
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from interceptor import config
from interceptor.errors import ConfigError
from interceptor.source import files
from interceptor.source.event import Event, Loaded, Rejected

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
