"""The keys of our own authority, and how its roots change."""

from __future__ import annotations

from pathlib import Path

import pytest

from interceptor.errors import InterceptorError
from interceptor.workload import certificate, keystore
from interceptor.workload.keystore import Keys

NOW = 1_700_000_000.0
LIFE = 3600
FIRST = keystore.make("example.org", "ecdsa-p256", LIFE, NOW)
BOTH = keystore.rotate(FIRST, "ecdsa-p256", LIFE, NOW + 10)
OLD, NEW = (root.signer for root in BOTH.roots)


def prints(pem: bytes) -> list[str]:
    return [each.fingerprint for each in certificate.read(pem)]


def test_a_new_authority_signs_at_once_for_ten_years() -> None:
    (root,) = certificate.read(FIRST.bundle(NOW))
    assert root.is_authority
    assert FIRST.signer(NOW) == FIRST.roots[0].signer
    assert 9 < (root.not_after_s - NOW) / (365 * 86400) <= 10


def test_a_new_root_is_handed_out_before_it_signs_and_an_old_one_after_it_has() -> None:
    begun = NOW + 10
    for at, signer, count in (
        (begun, OLD, 2),
        (begun + LIFE - 1, OLD, 2),
        (begun + LIFE, NEW, 2),
        (begun + 2 * LIFE - 1, NEW, 2),
        (begun + 2 * LIFE, NEW, 1),
    ):
        assert BOTH.signer(at) == signer
        handed = prints(BOTH.bundle(at))
        assert len(handed) == count
        assert handed[0] == prints(signer.certificate)[0], "who signs comes first"


def test_at_no_moment_does_a_member_meet_a_root_that_it_has_not_got() -> None:
    """Of any two members, each with the roots and a certificate of its last renewal."""
    moments = [NOW + 10 + LIFE * step / 8 for step in range(-8, 32)]
    for now in moments:
        renewed = [at for at in moments if now - LIFE < at <= now]
        for mine in renewed:
            believed = prints(BOTH.bundle(mine) if mine >= NOW + 10 else FIRST.bundle(mine))
            for theirs in renewed:
                signer = BOTH.signer(theirs) if theirs >= NOW + 10 else FIRST.signer(theirs)
                assert prints(signer.certificate)[0] in believed, (now, mine, theirs)


def test_the_authority_s_own_certificate_is_of_a_root_that_old_files_have() -> None:
    assert BOTH.elder(NOW + 10 + 2 * LIFE - 1) == OLD
    assert BOTH.elder(NOW + 10 + 2 * LIFE) == NEW


def test_one_change_at_a_time() -> None:
    with pytest.raises(InterceptorError, match="being changed until"):
        keystore.rotate(BOTH, "ecdsa-p256", LIFE, NOW + 20)
    later = keystore.rotate(BOTH, "ecdsa-p256", LIFE, NOW + 10 + 2 * LIFE)
    assert [root.signer for root in later.roots][:1] == [NEW]


def test_stolen_keys_are_replaced_at_once_and_no_token_of_before_is_good() -> None:
    fresh = keystore.replace_now(BOTH, "ecdsa-p256", LIFE, NOW + 20)
    assert len(fresh.roots) == 1
    assert fresh.secret != BOTH.secret
    assert fresh.roots[0].signer not in (OLD, NEW)


def test_keys_are_for_their_owner_only_and_come_back_as_they_were(tmp_path: Path) -> None:
    folder = tmp_path / "authority"
    keystore.save(folder, BOTH, NOW)
    assert keystore.load(folder) == BOTH
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert b"PRIVATE" not in (folder / keystore.ROOTS).read_bytes()


def test_keys_that_others_could_have_read_are_not_used(tmp_path: Path) -> None:
    keystore.save(tmp_path, FIRST, NOW)
    (tmp_path / keystore.NAME).chmod(0o640)
    with pytest.raises(InterceptorError, match="read by others"):
        keystore.load(tmp_path)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"format": 2}', keystore.encode(FIRST)[:-40], b"\xff"]
)
def test_a_damaged_file_is_said_to_be_that(data: bytes) -> None:
    with pytest.raises(InterceptorError, match=r"damaged|later version"):
        keystore.decode(data, "f")


def test_a_folder_without_an_authority_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(keystore.NoAuthority, match="authority init"):
        keystore.load(tmp_path)


def test_what_each_root_does_is_said() -> None:
    stages = [tuple(keystore.stages(BOTH, NOW + 10 + LIFE * step)) for step in (0, 1)]
    assert stages == [("signs", "comes"), ("goes", "signs")]
    assert keystore.stages(FIRST, NOW) == ["signs"]
    assert isinstance(FIRST, Keys)
