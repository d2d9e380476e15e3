"""Files of root alone, on a real file system."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from interceptor.workload import safe
from tests.unit.workload import made
from tests.unit.workload.made import Authority

NOW = 1_800_000_000.0
CA = Authority(NOW)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def token(ends_s: float) -> str:
    return made.token(NOW + ends_s)


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder that a reboot loses."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_what_is_kept_is_root_s_alone_and_comes_back(tmp_path: Path) -> None:
    folder, mine = tmp_path / "a" / "identity", CA.credential()
    folder.mkdir(parents=True, mode=0o755)
    safe.save(folder, mine)
    assert (mode(folder), mode(folder / safe.NAME)) == (0o700, 0o600)
    assert safe.load(folder) == mine
    assert [path.name for path in folder.iterdir()] == [safe.NAME], "no draft is left"


def test_nothing_and_rubbish_are_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert safe.load(tmp_path) is None
    assert not caplog.records
    (tmp_path / safe.NAME).write_bytes(b"rubbish")
    assert safe.load(tmp_path) is None
    assert "a new certificate is asked for" in caplog.text


def test_other_programs_find_three_files_that_openssl_reads(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    safe.hand_out(folder, CA.credential())
    assert {path.name: mode(path) for path in folder.iterdir()} == {
        "key.pem": 0o600,
        "cert-chain.pem": 0o600,
        "root-cert.pem": 0o600,
    }
    trust = ["-CAfile", "root-cert.pem", "-attime", str(int(NOW))]
    done = subprocess.run(["openssl", "verify", *trust, "cert-chain.pem"], cwd=folder)
    assert done.returncode == 0
    public = [["pkey", "-in", "key.pem", "-pubout"], ["x509", "-in", "cert-chain.pem", "-pubkey"]]
    keys = [
        subprocess.run(["openssl", *words, "-noout"], cwd=folder, capture_output=True).stdout
        for words in public[1:]
    ]
    own = subprocess.run(["openssl", *public[0]], cwd=folder, capture_output=True).stdout
    assert keys == [own] != [b""]


def test_a_token_in_memory_is_copied_and_put_back_after_a_reboot(
    memory: Path, tmp_path: Path
) -> None:
    path, copy = memory / "tokens" / "istio-token", tmp_path / safe.TOKEN_NAME
    path.parent.mkdir()
    path.write_text(token(3600))
    assert "a copy is kept" in safe.mirror_token(path, tmp_path, NOW)
    assert (safe.read_token(copy), mode(copy)) == (token(3600), 0o600)
    assert safe.mirror_token(path, tmp_path, NOW) == ""
    path.unlink()
    path.parent.rmdir()
    assert "put back" in safe.mirror_token(path, tmp_path, NOW)
    assert (safe.read_token(path), mode(path)) == (token(3600), 0o600)


def test_an_older_token_replaces_no_newer_copy_and_an_ended_one_is_not_put_back(
    memory: Path, tmp_path: Path
) -> None:
    path, copy = memory / "istio-token", tmp_path / safe.TOKEN_NAME
    copy.write_text(token(100))
    path.write_text(token(50))
    assert safe.mirror_token(path, tmp_path, NOW) == ""
    assert safe.read_token(copy) == token(100)
    path.unlink()
    assert safe.mirror_token(path, tmp_path, NOW + 200) == ""
    assert not path.exists()


def test_a_token_on_a_disk_is_left_alone(tmp_path: Path) -> None:
    path = Path("/var/tmp") / f"interceptor-token-{tmp_path.name}"
    path.write_text(token(3600))
    try:
        assert safe.mirror_token(path, tmp_path, NOW) == ""
        assert not (tmp_path / safe.TOKEN_NAME).exists()
    finally:
        path.unlink()


def test_when_a_token_ends() -> None:
    assert safe.end_of(token(5)) == NOW + 5
    assert safe.end_of("rubbish") == 0
