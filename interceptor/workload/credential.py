"""What this VM proves itself by: key, chain and the roots that it trusts. PURE but for randomness
that is handed in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from interceptor.workload import certificate
from interceptor.workload.certificate import Certificate, CertificateError

SKEW_S = 60.0
"""How far ahead of ours an authority's clock may be. Most date their certificates back, Istio's by
two minutes."""
JITTER = 0.01  # of a certificate's life: members that started together do not renew together
_OBTAINED = re.compile(rb"^Obtained: (\d{1,12}(?:\.\d{1,6})?)$", re.MULTILINE)
_ROOTS = b"Trusted roots:\n"


@dataclass(frozen=True)  # without slots: what was read of it is kept
class Credential:
    """PEM; the chain is the leaf and what is between it and a root, ``root_pem`` one root or
    several. Times in seconds since 1970; it ends with the first of its chain."""

    key_pem: bytes = field(repr=False)
    chain_pem: bytes
    root_pem: bytes
    obtained_s: float

    @cached_property
    def chain(self) -> tuple[Certificate, ...]:
        return certificate.read(self.chain_pem)

    @cached_property
    def roots(self) -> tuple[Certificate, ...]:
        return certificate.read(self.root_pem)

    @property
    def who(self) -> str:
        """Its SPIFFE ID."""
        return self.chain[0].spiffe

    @property
    def issuer(self) -> str:
        return self.chain[0].issuer

    @property
    def not_before_s(self) -> float:
        return self.chain[0].not_before_s

    @cached_property
    def not_after(self) -> float:
        root = certificate.find_root(self.chain, self.roots)
        ends = [each.not_after_s for each in (*self.chain, root) if each is not None]
        return min(ends)

    @property
    def fingerprint(self) -> str:
        return self.chain[0].fingerprint

    def is_valid(self, now_s: float) -> bool:
        """By this host's clock."""
        return self.not_before_s - SKEW_S <= now_s < self.not_after

    def choose_renewal(self, renew_at: float, chance: float) -> float:
        """When another is to be had: after ``renew_at`` of its life, give or take `JITTER`, by a
        ``chance`` from 0 to 1. Its life begins when it was obtained, for it may be dated back."""
        is_sound = self.not_before_s - SKEW_S <= self.obtained_s < self.not_after
        begins_s = self.obtained_s if is_sound else self.not_before_s
        part = min(max(renew_at + JITTER * (2 * chance - 1), 0.0), 1.0)
        return begins_s + part * (self.not_after - begins_s)


def decide(key_pem: bytes, answer: Sequence[bytes], who: str, now_s: float) -> Credential:
    """The credential that an authority's answer makes, for the key that was asked for and the
    SPIFFE ID that this VM is to have. Raises CertificateError with what is wrong with it."""
    if len(answer) < 2:
        have = "a certificate without a chain" if answer else "no certificate"
        raise CertificateError(f"it answers {have}: its own certificate and a root are needed")
    chain = b"".join(map(_ended, answer[:-1]))
    made = Credential(key_pem, chain, _ended(answer[-1]), round(now_s, 3))
    check(made)
    leaf, roots = made.chain[0], made.roots
    if leaf.spiffe != who:
        raise CertificateError(_other_name(leaf, who))
    root = certificate.find_root(made.chain, roots)
    for each in (*made.chain, *((root,) if root else ())):
        _check_times(each, now_s)
    return made


def check(made: Credential) -> None:
    """Raises CertificateError where key, chain and roots are not of one piece."""
    if not certificate.fits(made.key_pem, made.chain[0]):
        raise CertificateError("the certificate is of another key than ours")
    if certificate.find_root(made.chain, made.roots) is None:
        issuer = made.chain[-1].issuer or "an authority without a name"
        raise CertificateError(
            f"the certificate is of another authority: its chain ends at {issuer}, which no root "
            "that came with it has signed"
        )


def _other_name(leaf: Certificate, who: str) -> str:
    names = ", ".join(leaf.uris) or "nobody"
    cure = "node.namespace, node.service_account and the token must be of one workload"
    domain = leaf.spiffe.removeprefix("spiffe://").partition("/")[0]
    if domain and who.partition("/ns/")[2] == leaf.spiffe.partition("/ns/")[2]:
        cure = f"set identity.trust_domain to {domain}"
    return f"the certificate is for {names}, and this VM is {who}: {cure}"


def _check_times(each: Certificate, now_s: float) -> None:
    date, what = certificate.date, each.spiffe or each.subject
    if now_s < each.not_before_s - SKEW_S:
        raise CertificateError(
            f"the certificate of {what} is not valid before {date(each.not_before_s)}, and this "
            f"host's clock says {date(now_s)}: one of the two clocks is wrong"
        )
    if now_s >= each.not_after_s:
        raise CertificateError(
            f"the certificate of {what} ended at {date(each.not_after_s)}, and this host's clock "
            f"says {date(now_s)}: the authority's is old, or one of the two clocks is wrong"
        )


def _ended(pem: bytes) -> bytes:
    return pem if pem.endswith(b"\n") else pem + b"\n"


def encode(made: Credential) -> bytes:
    """As one file, so that key and certificate never come apart; openssl reads it, too."""
    obtained = f"Obtained: {made.obtained_s:.3f}\n".encode()
    return obtained + made.key_pem + made.chain_pem + _ROOTS + made.root_pem


def decode(data: bytes) -> Credential:
    """Raises CertificateError for what `encode` has not written, or does not fit together."""
    head, mark, roots = data.partition(_ROOTS)
    when, begin = _OBTAINED.search(head), head.find(b"-----BEGIN CERTIFICATE-----")
    if not mark or when is None or begin < 0:
        raise CertificateError("it is no credential of ours")
    key = head[when.end() : begin].strip() + b"\n"
    made = Credential(key, head[begin:], roots, float(when[1]))
    check(made)
    return made
