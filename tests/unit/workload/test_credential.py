"""What an authority's answer is good for, and when it is to be replaced."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.workload import credential, signing
from interceptor.workload.certificate import CertificateError
from interceptor.workload.credential import Credential
from tests.unit.workload.made import DAY_S, WHO, Authority

NOW = 1_800_000_000.0
CA = Authority(NOW)
KEY = signing.make_key("ecdsa-p256")
CSR = signing.build_csr(KEY, WHO)


def test_a_good_answer_is_a_credential() -> None:
    made = credential.decide(KEY, CA.answer(CSR), WHO, NOW)
    assert (made.who, made.issuer, made.not_after) == (WHO, "O=tests", NOW + DAY_S)
    assert made.is_valid(NOW)
    assert not made.is_valid(NOW + DAY_S)
    assert KEY.decode()[90:120] not in repr(made)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([], "no certificate"),
        (CA.answer(CSR)[:1], "without a chain"),
        ([b"junk", b"junk"], "no certificate in PEM"),
        (CA.answer(signing.build_csr(signing.make_key("ecdsa-p256"), WHO)), "of another key"),
        ([CA.answer(CSR)[0], Authority(NOW).root.certificate], "of another authority"),
        (CA.answer(CSR, ends_s=-60), "ended at 2027-01-15 07:59:00 UTC.*clock says 2027-01-15 08"),
        (CA.answer(CSR, begins_s=3600), "not valid before 2027-01-15 09:00:00 UTC.*clock"),
        (CA.answer(CSR, who="spiffe://cluster.local/ns/shop/sa/b"), "service_account"),
        (CA.answer(CSR, who="spiffe://td/ns/shop/sa/web"), "identity.trust_domain to td$"),
        (CA.answer(CSR, who="https://x"), "is for https://x"),
    ],
)
def test_a_bad_answer_is_refused_with_its_reason(answer: list[bytes], words: str) -> None:
    with pytest.raises(CertificateError, match=words):
        credential.decide(KEY, answer, WHO, NOW)


def test_a_clock_that_is_some_seconds_off_does_not_matter() -> None:
    assert credential.decide(KEY, CA.answer(CSR, begins_s=30), WHO, NOW)


def test_several_roots_at_the_end_are_all_trusted() -> None:
    other = Authority(NOW).root.certificate
    leaf, root = CA.answer(CSR)
    made = credential.decide(KEY, [leaf, other + root.rstrip()], WHO, NOW)
    assert [each.pem for each in made.roots] == [other, root]


def test_it_ends_with_its_authority() -> None:
    short = Authority(NOW)
    short.root = signing.make_root("ecdsa-p256", "short", NOW - 9, NOW + 60)
    assert credential.decide(KEY, short.answer(CSR), WHO, NOW).not_after == NOW + 60


def test_half_of_its_life_counts_from_when_it_was_obtained() -> None:
    made = CA.credential(begins_s=-120, ends_s=20)
    assert made.choose_renewal(0.5, 0.5) == pytest.approx(NOW + 10)
    assert made.choose_renewal(0.5, 0.0) == pytest.approx(NOW + 9.8)
    assert made.choose_renewal(0.5, 1.0) == pytest.approx(NOW + 10.2)


@pytest.mark.parametrize("obtained_s", [-10 * DAY_S, 10 * DAY_S])
def test_a_date_of_a_clock_that_was_wrong_does_not_count(obtained_s: float) -> None:
    made = CA.credential(begins_s=0, ends_s=100, obtained_s=obtained_s)
    assert made.choose_renewal(0.5, 0.5) == pytest.approx(NOW + 50)


def test_it_is_kept_as_it_is() -> None:
    made = CA.credential(roots=[Authority(NOW).root.certificate])
    assert credential.decode(credential.encode(made)) == made


def test_a_file_of_two_halves_is_refused() -> None:
    made = replace(CA.credential(), key_pem=KEY)
    with pytest.raises(CertificateError, match="another key"):
        credential.decode(credential.encode(made))


@given(st.integers(0, 1500), st.binary(max_size=12))
def test_a_damaged_file_is_read_or_refused(at: int, junk: bytes) -> None:
    data = credential.encode(GOOD)
    try:
        found = credential.decode(data[:at] + junk + data[at + len(junk) :])
    except CertificateError:
        return
    assert found.chain[0].fingerprint == GOOD.fingerprint


GOOD: Credential = CA.credential()
