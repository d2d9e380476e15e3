"""A small certificate authority, for sites without istiod: who asks gets a certificate of the
name that it has proved, and of no other.

A caller proves its name by a token of ours, or by a certificate of ours that still holds; what
its request asks to be called is not looked at. There is no revocation: certificates are short.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from interceptor.config import Config
from interceptor.errors import InterceptorError
from interceptor.host.quota import Quota
from interceptor.mesh import identity
from interceptor.mesh.identity import SpiffeId
from interceptor.workload import certificate, keystore, signing, token
from interceptor.workload.certificate import CertificateError
from interceptor.workload.keystore import Keys
from interceptor.workload.signing import Leaf, Signer

EARLIER_S = 60.0  # a certificate begins before it is given, by a tenth of its life at most
REQUEST_BYTES = 64 << 10  # a request with an RSA key has some 1,500
BURST, PER_S = 30, 1.0  # certificates for one name
NAME = "interceptor-authority"
"""A name that every authority's own certificate bears, for mesh.istiod.server_name."""


class Refused(InterceptorError):
    """A call is refused. ``code`` is gRPC's name of the reason."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Proof:
    """What a caller shows: a bearer token, and the certificate that TLS has verified (PEM)."""

    token: str = ""
    certificate: bytes = b""


class Authority:
    """Signs by the keys of a folder, which are read again when they have changed."""

    def __init__(
        self, folder: Path, ttl_s: int, clock: Callable[[], float] = certificate.now_s
    ) -> None:
        """Raises NoAuthority where the folder holds none, InterceptorError where it is damaged."""
        self._folder, self._ttl_s, self._clock = folder, ttl_s, clock
        self._quota = Quota(BURST, PER_S)
        self._keys = keystore.load(folder)
        self._stamp = self._look()
        self.issued, self.refused = 0, 0

    @property
    def keys(self) -> Keys:
        """As the folder has them now; the last good ones where it cannot be read."""
        stamp = self._look()
        if stamp != self._stamp:
            try:
                self._keys, self._stamp = keystore.load(self._folder), stamp
            except (InterceptorError, OSError):
                self._stamp = stamp  # half of a restore; the next change is looked at again
        return self._keys

    @property
    def trust_domain(self) -> str:
        return self.keys.trust_domain

    def roots(self) -> bytes:
        """What members are to believe, PEM."""
        return self.keys.bundle(self._clock())

    def sign(self, csr: bytes, member: SpiffeId, ttl_s: int) -> tuple[bytes, ...]:
        """The chain for a member: its certificate, and the roots in one text. Raises
        CertificateError for a request that is none."""
        request = signing.read_request(csr)
        signer = self.keys.signer(self._clock())
        return self._issue(signer, request.public_key, ttl_s, uris=(member.uri,)), self.roots()

    def serve(self, csr: bytes, proof: Proof, ttl_s: int) -> tuple[bytes, ...]:
        """The chain for a caller. Raises Refused."""
        try:
            member = self._recognise(proof)
            if not self._quota.take(member.uri):
                raise Refused("RESOURCE_EXHAUSTED", f"{member.uri} asks too often")
            if len(csr) > REQUEST_BYTES:
                raise Refused("INVALID_ARGUMENT", "the request is too long")
            chain = self.sign(csr, member, ttl_s)
        except CertificateError as error:
            self.refused += 1
            raise Refused("INVALID_ARGUMENT", str(error)) from error
        except Refused:
            self.refused += 1
            raise
        self.issued += 1
        return chain

    def serve_myself(self, names: Iterable[str], ttl_s: int) -> tuple[bytes, bytes]:
        """Key and certificate of the authority's own server, for DNS names and addresses."""
        key = signing.make_key("ecdsa-p256")
        request = signing.read_request(signing.build_csr(key, f"spiffe://{self.trust_domain}"))
        signer = self.keys.elder(self._clock())
        return key, self._issue(signer, request.public_key, ttl_s, hosts=tuple(names))

    def _issue(
        self,
        signer: Signer,
        public_key: bytes,
        ttl_s: int,
        uris: tuple[str, ...] = (),
        hosts: tuple[str, ...] = (),
    ) -> bytes:
        now_s, keys, longest_s = self._clock(), self.keys, self._ttl_s
        if len(keys.current(now_s).roots) > 1:
            longest_s = min(longest_s, keys.life_s)  # an old root's must not outlive the change
        life_s = min(ttl_s, longest_s) if ttl_s > 0 else longest_s
        begins_s = now_s - min(EARLIER_S, life_s / 10)
        leaf = Leaf(public_key, uris, begins_s, now_s + life_s, hosts)
        return signing.issue(leaf, signer)

    def _recognise(self, proof: Proof) -> SpiffeId:
        """By the token where it is good, else by the certificate."""
        keys, why = self.keys, "show a token (authority token) or a certificate of ours"
        if proof.token:
            try:
                return token.decode(proof.token, keys.secret, keys.trust_domain, self._clock())
            except (token.Refused, ValueError) as error:
                why = str(error)
        if proof.certificate:
            member = identity.parse(certificate.read(proof.certificate)[0].spiffe)
            if member is not None and member.trust_domain == keys.trust_domain:
                return member
            why = "the certificate names no member of this trust domain"
        raise Refused("UNAUTHENTICATED", why)

    def _look(self) -> tuple[int, int]:
        try:
            found = (self._folder / keystore.NAME).stat()
        except OSError:
            return 0, 0
        return found.st_mtime_ns, found.st_ino


def own_names(config: Config, addresses: Iterable[object]) -> tuple[str, ...]:
    """Every name that members may call this authority by."""
    host, _, _ = config.authority.listen.rpartition(":")
    listen = host.strip("[]")
    named = [NAME, "localhost", "127.0.0.1", "::1", socket.gethostname(), socket.getfqdn()]
    if listen and listen not in ("0.0.0.0", "::"):
        named.append(listen)
    named += [str(address) for address in addresses]
    return tuple(dict.fromkeys(named))


def sign_for_self(config: Config, csr: bytes, ttl_s: int) -> tuple[bytes, ...]:
    """identity.provider local: the chain for this VM, as the authority's service would answer it.
    Raises NoAuthority, CertificateError, InterceptorError."""
    authority = Authority(config.authority.dir, config.authority.ttl_s)
    node = config.node
    member = SpiffeId(authority.trust_domain, node.namespace, node.service_account)
    if config.identity.trust_domain != member.trust_domain:
        wanted = config.identity.trust_domain
        raise InterceptorError(
            f"identity.trust_domain is {wanted}, the authority's is {member.trust_domain}"
        )
    return authority.sign(csr, member, ttl_s)
