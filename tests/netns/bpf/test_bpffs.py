"""Pins on a bpffs of the test's own: what survives a process, and what is refused."""

from __future__ import annotations

import os
import struct
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from interceptor.errors import InterceptorError
from interceptor.host import bpf, bpfmap, command, pin
from interceptor.host.layout import LAYOUT, SPECS, Map

pytestmark = pytest.mark.root


def mounts(path: Path) -> int:
    return Path("/proc/self/mountinfo").read_text().count(f" {path} ")


def names(bpffs: Path) -> list[str]:
    """What is in a folder of a bpffs, besides what the kernel itself puts into a new one."""
    return sorted(path.name for path in bpffs.iterdir() if path.suffix != ".debug")


def adopted_id(bpffs: Path, number: Map) -> int:
    found = pin.adopt_map(bpffs, number)
    assert found is not None
    identity = bpfmap.map_id(found.fd)
    found.close()
    return identity


def test_a_bpffs_is_mounted_once(bpffs: Path) -> None:
    assert pin.on_bpffs(bpffs)
    pin.prepare(bpffs)
    pin.prepare(bpffs / "below")
    assert mounts(bpffs) == 1
    assert (bpffs / "below").is_dir()


def test_nothing_is_mounted_over_files(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InterceptorError, match="not empty"):
        pin.prepare(tmp_path)
    assert not mounts(tmp_path)


def test_a_second_process_sees_the_same_maps(bpffs: Path) -> None:
    maps = pin.open_maps(bpffs)
    try:
        key = struct.pack("=I", 0)
        maps[Map.STATE].update(key, struct.pack("=Q", 77))
        script = (
            "import pathlib, sys; from interceptor.host import pin; from interceptor.host.layout "
            "import Map; maps = pin.open_maps(pathlib.Path(sys.argv[1]));"
            "print(int.from_bytes(maps[Map.STATE].lookup(bytes(4)), sys.byteorder))"
        )
        done = command.run([sys.executable, "-c", script, str(bpffs)])
        assert done.stdout == "77\n"
    finally:
        for each in maps.values():
            each.close()
    assert names(bpffs) == ["alias4", "alias6", f"v{LAYOUT}"]
    assert len(list((bpffs / f"v{LAYOUT}").iterdir())) == len(SPECS) - 2


def test_maps_outlive_their_process_and_another_layout_leaves_the_aliases(bpffs: Path) -> None:
    for each in pin.open_maps(bpffs).values():
        each.close()
    aliases = adopted_id(bpffs, Map.ALIAS4)
    (bpffs / "v0").mkdir()
    (bpffs / "v0" / "sub").mkdir()
    assert pin.versions(bpffs) == (0, LAYOUT)
    pin.remove_version(bpffs, 0)
    assert pin.versions(bpffs) == (LAYOUT,)
    pin.remove_version(bpffs, LAYOUT)
    assert pin.versions(bpffs) == ()
    assert adopted_id(bpffs, Map.ALIAS4) == aliases
    assert pin.adopt_map(bpffs, Map.STATE) is None


def test_a_pin_of_another_shape_is_an_error_that_names_both(bpffs: Path) -> None:
    spec = replace(SPECS[Map.STATE], value_size=16)
    other = bpfmap.create(spec)
    path = pin.map_path(bpffs, Map.STATE)
    path.parent.mkdir()
    bpf.pin(other.fd, str(path))
    other.close()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(InterceptorError, match=rf"^{path}: .*\(2, 4, 16\), not \(2, 4, 8\)"):
        pin.open_maps(bpffs)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_pin_that_is_no_map_is_an_error(bpffs: Path) -> None:
    path = pin.map_path(bpffs, Map.STATE)
    path.mkdir(parents=True)
    with pytest.raises(InterceptorError, match="cannot open"):
        pin.open_maps(bpffs)


def test_removing_everything_leaves_the_folder_s_mount_alone(bpffs: Path) -> None:
    place = bpffs / "interceptor"
    pin.prepare(place)
    for each in pin.open_maps(place).values():
        each.close()
    assert pin.remove_all(place)
    assert not place.exists()
    assert names(bpffs) == []
    assert not pin.remove_all(place)


def test_what_somebody_else_pinned_beside_ours_stays(bpffs: Path) -> None:
    place = bpffs / "interceptor"
    (place / "theirs").mkdir(parents=True)
    for each in pin.open_maps(place).values():
        each.close()
    assert pin.remove_all(place)
    assert names(place) == ["theirs"]


def test_a_folder_that_is_on_no_bpffs_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not pin.remove_all(tmp_path)
    assert (tmp_path / "file").exists()
