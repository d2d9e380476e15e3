"""Bundles in folders and archives, as tar(1) makes them; and those that somebody tampered with."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from interceptor.errors import ConfigError, InterceptorError
from interceptor.host import command
from interceptor.workload import carrier

FILES = {"cluster.env": b"A='1'\n", "mesh.yaml": b"{}\n", "mesh/shop.yaml": b"kind: X\n"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "vm"
    carrier.apply(place, FILES)
    return place


def pack(folder: Path, kind: str) -> Path:
    path = folder.with_name(f"vm.{kind}")
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for name in FILES:
                zipped.write(folder / name, name)
    else:
        command.run(["tar", "-C", str(folder.parent), "-caf", str(path), folder.name])
    return path


def test_a_folder_is_read_as_it_was_written(folder: Path) -> None:
    assert carrier.observe(folder) == FILES


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz", "zip"])
def test_archives_are_read(folder: Path, kind: str) -> None:
    found = carrier.observe(pack(folder, kind))
    assert {name.removeprefix("vm/"): data for name, data in found.items()} == FILES


def test_nobody_else_reads_what_is_written(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        carrier.apply(tmp_path / "vm", FILES)
    finally:
        os.umask(before)
    modes = {
        path.relative_to(tmp_path).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in tmp_path.rglob("*")
    }
    assert modes == {
        "vm": 0o700,
        "vm/cluster.env": 0o600,
        "vm/mesh": 0o700,
        "vm/mesh.yaml": 0o600,
        "vm/mesh/shop.yaml": 0o600,
    }


def test_an_earlier_bundle_is_replaced_whole(folder: Path) -> None:
    carrier.apply(folder, {"cluster.env": b"B='2'\n"})
    assert carrier.observe(folder) == {"cluster.env": b"B='2'\n"}


def test_a_folder_of_somebody_else_is_neither_closed_nor_written_to(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("x")
    tmp_path.chmod(0o755)
    with pytest.raises(InterceptorError, match="theirs"):
        carrier.apply(tmp_path, FILES)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz", "zip"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.7])
def test_an_archive_that_was_cut_off_is_refused(folder: Path, kind: str, part: float) -> None:
    path = pack(folder, kind)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    if kind == "tar" and part:
        # Whole records of zeros follow the files; what is cut off there is nothing.
        path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(ConfigError, match="a folder, .tar"):
        carrier.observe(path)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "vm/../../x"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo(name)
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(ConfigError, match="leads out"):
        carrier.observe(path)


def test_links_and_devices_in_an_archive_are_no_files(tmp_path: Path) -> None:
    path = tmp_path / "links.tar"
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo("root-cert.pem")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
        tar.addfile(link)
        device = tarfile.TarInfo("istio-token")
        device.type = tarfile.CHRTYPE
        tar.addfile(device)
    assert carrier.observe(path) == {}


def test_a_file_that_unpacks_to_more_than_its_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("mesh.yaml", bytes(carrier.FILE_LIMIT_BYTES + 1))
    with pytest.raises(ConfigError, match="too large"):
        carrier.observe(path)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        carrier.observe(tmp_path / "nowhere")
