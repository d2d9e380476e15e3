"""The way back: byte for byte, from any moment, and never at the cost of somebody's own words."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.errors import InterceptorError
from interceptor.host import former
from interceptor.host.footprint import Draft, Footprint
from interceptor.host.former import Former

PLACE = Path("/var/lib/ours/join")
STATE = Path("/var/lib/ours")
DRAFTS = (
    Draft(Path("/etc/ours/config.yaml"), b"new\n"),
    Draft(Path("/etc/ours/mesh/shop.yaml"), b"shop\n", 0o644),
    Draft(Path("/var/lib/ours/token"), b"secret\n"),
    Draft(Path("/etc/link"), b"no link\n"),
)

Manifest = dict[str, Former]


def manifest(root: Path) -> Manifest:
    """Every path below with kind, bytes, mode, owner and time."""
    return {
        path.relative_to(root).as_posix(): former.observe(path)[0]
        for path in (root, *sorted(root.rglob("*")))
    }


def without_times(found: Manifest) -> dict[str, tuple[object, ...]]:
    return {
        name: (one.kind, one.digest, one.mode, one.target, one.uid) for name, one in found.items()
    }


def fill(root: Path, is_used: bool) -> None:
    """A host; ``is_used``: with a configuration and state of its own."""
    for name in ("etc", "var/lib"):
        (root / name).mkdir(parents=True)
    (root / "etc/link").symlink_to("nowhere")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    if is_used:
        (root / "etc/ours/mesh").mkdir(parents=True)
        (root / "etc/ours/config.yaml").write_text("# mine\n")
        (root / "etc/ours/config.yaml").chmod(0o644)
        (root / "var/lib/ours/deep").mkdir(parents=True, mode=0o700)
        (root / "var/lib/ours/last-good").write_bytes(bytes(range(256)))
        (root / "var/lib/ours/deep/vips").write_text("{}")
    for at, path in enumerate(sorted(root.rglob("*"), reverse=True)):
        stamp = 1_600_000_000_000_000_000 + at
        os.utime(path, ns=(stamp, stamp), follow_symlinks=False)


@pytest.fixture(params=[False, True], ids=["fresh", "used"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    fill(tmp_path, request.param)
    return tmp_path


def daemon(root: Path) -> None:
    """What a running service does to its state."""
    state = root / "var/lib/ours"
    state.chmod(0o711)
    (state / "last-good").write_text("another table")
    (state / "identity").mkdir()
    (state / "identity/key.pem").write_text("a key")


def write(root: Path, drafts: tuple[Draft, ...] = DRAFTS) -> Footprint:
    footprint = Footprint.open(PLACE, root)
    footprint.write(drafts, [STATE], {"who": "vm"})
    return footprint


def test_files_are_written_with_their_modes_and_folders_made(root: Path) -> None:
    write(root)
    for draft in DRAFTS:
        path = root / draft.path.relative_to("/")
        assert path.read_bytes() == draft.data
        assert path.stat().st_mode & 0o777 == draft.mode
        assert not path.is_symlink()
    journal = root / PLACE.relative_to("/")
    assert {path.stat().st_mode & 0o777 for path in journal.iterdir()} == {0o600}
    assert journal.stat().st_mode & 0o777 == 0o700


def test_the_way_back_is_byte_for_byte_with_modes_owners_and_times(root: Path) -> None:
    before = manifest(root)
    write(root)
    daemon(root)
    assert manifest(root) != before
    assert Footprint.open(PLACE, root).revert() == []
    assert manifest(root) == before


def test_a_second_writing_goes_back_to_what_was_before_the_first(root: Path) -> None:
    before = manifest(root)
    write(root)
    daemon(root)
    again = write(root, (Draft(Path("/etc/ours/config.yaml"), b"newer\n"), *DRAFTS[2:]))
    assert again.note == {"who": "vm"}
    assert Footprint.open(PLACE, root).revert() == []
    assert manifest(root) == before


def test_a_file_that_was_edited_since_is_kept_aside_and_told(root: Path) -> None:
    before = manifest(root)
    write(root)
    config = root / "etc/ours/config.yaml"
    assert not Footprint.open(PLACE, root).is_edited(Path("/etc/ours/config.yaml"))
    config.write_text("edited\n")
    footprint = Footprint.open(PLACE, root)
    assert footprint.is_edited(Path("/etc/ours/config.yaml"))
    told = footprint.revert()
    assert "kept as /etc/ours/config.yaml.yours" in told[0]
    kept = root / "etc/ours/config.yaml.yours"
    assert kept.read_text() == "edited\n"
    kept.unlink()
    if "etc/ours" not in before:
        assert "/etc/ours was not there before, and stays" in told[1]
        kept.parent.rmdir()
    assert without_times(manifest(root)) == without_times(before)


def test_a_file_that_was_removed_since_is_put_back(root: Path) -> None:
    before = manifest(root)
    write(root)
    (root / "etc/ours/config.yaml").unlink()
    (root / "etc/link").unlink()
    assert Footprint.open(PLACE, root).revert() == []
    assert without_times(manifest(root)) == without_times(before)


def test_what_others_made_beside_ours_stays_and_a_foreign_change_is_not_dated_back(
    root: Path,
) -> None:
    write(root)
    (root / "etc/theirs").write_text("x")
    changed = (root / "etc").stat().st_mtime_ns
    Footprint.open(PLACE, root).revert()
    assert (root / "etc/theirs").read_text() == "x"
    assert (root / "etc").stat().st_mtime_ns >= changed


class Killed(BaseException):
    """What ends a program in the middle."""


def killed_at(step: int) -> Generator[str, str, None]:
    for number in count():
        name = yield ""
        if number == step:
            raise Killed(name)


def test_a_crash_at_any_step_of_writing_or_of_the_way_back_is_undone(root: Path) -> None:
    before = manifest(root)
    whole = root.with_name(f"{root.name}-whole")
    shutil.copytree(root, whole, symlinks=True)
    reached = 0
    for step in count():
        here = whole.with_name(f"{root.name}-step-{step}")
        shutil.copytree(whole, here, symlinks=True)
        dying = killed_at(step)
        next(dying)
        footprint = Footprint(PLACE, here, at=dying.send)
        try:
            footprint.write(DRAFTS, [STATE], {})
            daemon(here)
            footprint.revert()
        except Killed:
            reached += 1
        else:
            break
        finally:
            Footprint.open(PLACE, here).revert()
            found = without_times(manifest(here))
            assert found == without_times(before), f"step {step}"
            shutil.rmtree(here)
    assert reached > 20, "no steps to die at"


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
FILES = st.dictionaries(PATHS, st.tuples(st.binary(max_size=8), st.sampled_from([0o600, 0o644])))


def lay(root: Path, files: dict[str, tuple[bytes, int]]) -> None:
    """As many of them as go together: a name is a file's or a folder's."""
    for name, (data, mode) in files.items():
        path = root / name
        if any(part.is_file() for part in (path, *path.parents)) or path.is_dir():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)


@settings(max_examples=60, deadline=None)
@given(before=FILES, drafted=FILES, state=FILES)
def test_any_host_comes_back_from_any_change(
    before: dict[str, tuple[bytes, int]],
    drafted: dict[str, tuple[bytes, int]],
    state: dict[str, tuple[bytes, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        lay(root, {f"etc/{name}": file for name, file in before.items()})
        lay(root, {f"var/lib/ours/{name}": file for name, file in before.items()})
        was = manifest(root)
        drafts = [
            Draft(Path("/etc") / name.replace("/", "-"), data, mode)
            for name, (data, mode) in drafted.items()
            if not (root / "etc" / name.replace("/", "-")).is_dir()
        ]
        Footprint(PLACE, root).write(drafts, [STATE], {})
        lay(root, {f"var/lib/ours/{name}": file for name, file in state.items()})
        assert Footprint.open(PLACE, root).revert() == []
        assert manifest(root) == was


def test_a_journal_of_another_version_is_told_and_left(root: Path) -> None:
    write(root)
    journal = root / PLACE.relative_to("/") / "journal.json"
    journal.write_text(journal.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(InterceptorError, match="format 99"):
        Footprint.open(PLACE, root)
