"""An authority of the tests, and what it gives; dated now or at will."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from interceptor.workload import certificate, signing
from interceptor.workload.credential import Credential
from interceptor.workload.signing import Leaf, Signer

WHO = "spiffe://cluster.local/ns/shop/sa/web"
DAY_S = 86400.0


@dataclass
class Authority:
    """Signs what it is asked for; ``begins_s`` and ``ends_s`` count from ``now_s``."""

    now_s: float = field(default_factory=certificate.now_s)
    root: Signer = field(init=False)

    def __post_init__(self) -> None:
        begins, ends = self.now_s - 40 * DAY_S, self.now_s + 400 * DAY_S
        self.root = signing.make_root("ecdsa-p256", "tests", begins, ends)

    def answer(
        self, csr: bytes, begins_s: float = -120, ends_s: float = DAY_S, who: str = ""
    ) -> list[bytes]:
        """As an authority answers a request."""
        request = signing.read_request(csr)
        uris = (who,) if who else request.uris
        times = (self.now_s + begins_s, self.now_s + ends_s)
        made = signing.issue(Leaf(request.public_key, uris, *times), self.root)
        return [made, self.root.certificate]

    def credential(
        self,
        begins_s: float = -120,
        ends_s: float = DAY_S,
        obtained_s: float = 0,
        roots: Sequence[bytes] = (),
    ) -> Credential:
        key = signing.make_key("ecdsa-p256")
        chain, root = self.answer(signing.build_csr(key, WHO), begins_s, ends_s)
        return Credential(key, chain, b"".join([root, *roots]), self.now_s + obtained_s)
