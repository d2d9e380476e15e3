"""The file of a bundle."""

from __future__ import annotations

import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from interceptor.debug import parcel
from interceptor.debug.parcel import Item
from interceptor.errors import InterceptorError

ITEMS = (
    Item("a.txt", "ä one\n", removed=2),
    Item("b/c.json", "{}"),
    Item("d.txt", left_out="nobody is there"),
)


def members(path: Path) -> dict[str, str]:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name).decode() for name in archive.namelist()}
    with tarfile.open(path) as archive:
        found = {}
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            assert member.mode == 0o600
            found[member.name] = file.read().decode()
        return found


@pytest.mark.parametrize("name", ["x.tar.gz", "x.zip", "x"])
def test_only_its_owner_may_read_it_and_all_is_in_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    parcel.write(path, ITEMS, ["interceptor 1"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = members(path)
    assert found["interceptor-report/a.txt"] == "ä one\n"
    assert found["interceptor-report/b/c.json"] == "{}"
    assert set(found) == {
        f"interceptor-report/{each}" for each in ("MANIFEST.txt", "a.txt", "b/c.json")
    }


def test_the_manifest_tells_what_is_in_it_and_what_is_not() -> None:
    text = parcel.manifest(ITEMS, ["interceptor 1"])
    rows = [line.split() for line in text.splitlines()]
    assert rows[0] == ["interceptor", "1"]
    assert ["a.txt", "7", "2"] in rows
    assert ["d.txt", "nobody", "is", "there"] in rows


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_text("mine")
    with pytest.raises(InterceptorError, match="name another file"):
        parcel.write(path, ITEMS, [])
    assert path.read_text() == "mine"


def test_of_one_that_cannot_be_written_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(InterceptorError):
        parcel.write(tmp_path / "none" / "x.zip", ITEMS, [])

    class Odd(str):
        def encode(self, *_: object, **__: object) -> bytes:
            raise OSError(28, "No space left on device")

    path = tmp_path / "x.tar.gz"
    with pytest.raises((InterceptorError, OSError)):
        parcel.write(path, [Item("a", Odd("a"))], [])
    assert not path.exists()


def test_of_what_is_too_long_the_end_is_kept() -> None:
    assert parcel.cut("short") == "short"
    text = parcel.cut("0123456789" * 10, most=10)
    assert text == "... 90 bytes before this are left out\n0123456789"
