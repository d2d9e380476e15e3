"""The keys of our own authority: its roots, one after the other, and the secret of its tokens.

A new root is handed out before it signs, and an old one after it has signed, each for as long as
a certificate may live: so at no moment does a member meet a certificate whose root it has not got.
Everything stands in one file, 0600, that is replaced as a whole; the roots without their keys
stand beside it, for people to copy.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from interceptor.errors import InterceptorError
from interceptor.host import atomic
from interceptor.workload import certificate, signing
from interceptor.workload.signing import KeyKind, Signer

NAME = "authority.json"
ROOTS = "root-cert.pem"
FORMAT = 1
ROOT_LIFE_S = 10 * 365 * 86400
EARLIER_S = 3600  # a root begins before it is made: a member's clock may be behind
SECRET_BYTES = 32


class NoAuthority(InterceptorError):
    """There is none in this folder."""


@dataclass(frozen=True, slots=True)
class Root:
    """``introduced_s``: since when it is handed out, seconds since 1970."""

    signer: Signer
    introduced_s: float


@dataclass(frozen=True, slots=True)
class Keys:
    """``roots`` by age, the oldest first. ``life_s``: the longest life of a certificate while the
    roots change."""

    trust_domain: str
    roots: tuple[Root, ...]
    secret: bytes
    life_s: int

    def current(self, now_s: float) -> Keys:
        """Without roots that have signed nothing that still holds."""
        kept = self.roots
        while len(kept) > 1 and now_s >= kept[1].introduced_s + 2 * self.life_s:
            kept = kept[1:]
        return replace(self, roots=kept)

    def signer(self, now_s: float) -> Signer:
        """The youngest root that everybody has by now."""
        known = [root for root in self.roots if now_s >= root.introduced_s + self.life_s]
        return (known or self.roots)[-1 if known else 0].signer

    def elder(self, now_s: float) -> Signer:
        """The oldest root that is still believed: of the authority's own certificate, for who
        comes for the first time knows the root of the day that its files were copied on."""
        return self.current(now_s).roots[0].signer

    def bundle(self, now_s: float) -> bytes:
        """Every root to be believed, the one that signs first; PEM."""
        first = self.signer(now_s).certificate
        others = [root.signer.certificate for root in self.current(now_s).roots]
        return b"".join([first, *(each for each in others if each != first)])


def make(trust_domain: str, kind: KeyKind, life_s: int, now_s: float) -> Keys:
    """An authority of its own, with one root that signs at once."""
    return Keys(trust_domain, (_root(trust_domain, kind, now_s),), _secret(), life_s)


def rotate(keys: Keys, kind: KeyKind, life_s: int, now_s: float) -> Keys:
    """With a new root, which signs when it has been handed out for a certificate's life."""
    keys = keys.current(now_s)
    if len(keys.roots) > 1:
        ends = certificate.date(keys.roots[-1].introduced_s + 2 * keys.life_s)
        raise InterceptorError(f"the roots are being changed until {ends}; --now cuts it short")
    root = _root(keys.trust_domain, kind, now_s)
    return replace(keys, roots=(*keys.roots, root), life_s=max(keys.life_s, life_s))


def replace_now(keys: Keys, kind: KeyKind, life_s: int, now_s: float) -> Keys:
    """With a new root only, and no token of before: for keys that others may have seen."""
    return make(keys.trust_domain, kind, life_s, now_s)


def _root(trust_domain: str, kind: KeyKind, now_s: float) -> Root:
    # The name differs from root to root: a verifier that has both looks by name.
    name = f"{trust_domain} {certificate.date(now_s)} {secrets.token_hex(4)}"
    made = signing.make_root(kind, name, now_s - EARLIER_S, now_s + ROOT_LIFE_S)
    return Root(made, now_s)


def _secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def encode(keys: Keys) -> bytes:
    """As it stands in the file."""
    roots = [
        {
            "introduced_s": root.introduced_s,
            "key": root.signer.key.decode(),
            "certificate": root.signer.certificate.decode(),
        }
        for root in keys.roots
    ]
    tree = {
        "format": FORMAT,
        "trust_domain": keys.trust_domain,
        "life_s": keys.life_s,
        "secret": base64.b64encode(keys.secret).decode(),
        "roots": roots,
    }
    return json.dumps(tree, indent=1).encode() + b"\n"


def decode(data: bytes, where: str) -> Keys:
    """Raises InterceptorError for a file that is damaged or of a later version."""
    try:
        tree = json.loads(data)
        if tree["format"] != FORMAT:
            raise InterceptorError(f"{where} is of a later version of this program")
        keys = Keys(
            str(tree["trust_domain"]),
            tuple(_decode_root(root) for root in tree["roots"]),
            base64.b64decode(tree["secret"], validate=True),
            int(tree["life_s"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InterceptorError(f"{where} is damaged: put a copy of it back") from error
    if not keys.roots or len(keys.secret) < SECRET_BYTES:
        raise InterceptorError(f"{where} is damaged: put a copy of it back")
    return keys


def _decode_root(tree: dict[str, object]) -> Root:
    texts = [tree[key] for key in ("key", "certificate")]
    key, found = (text.encode() for text in texts if isinstance(text, str))
    moment = tree["introduced_s"]
    if not isinstance(moment, int | float):
        raise ValueError("introduced_s is no number")
    return Root(Signer(key, found), float(moment))


def load(folder: Path) -> Keys:
    """The keys in ``folder``. Raises NoAuthority where there are none, InterceptorError where
    others could read them or they are damaged."""
    path = folder / NAME
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except FileNotFoundError as error:
        advice = "`interceptor authority init` makes one"
        raise NoAuthority(f"no authority in {folder}: {advice}") from error
    if mode & 0o077:
        raise InterceptorError(f"{path} can be read by others: chmod 600 it, or rotate --now")
    return decode(data, str(path))


def save(folder: Path, keys: Keys, now_s: float) -> None:
    """Write both files; raises OSError with the old ones as they were."""
    data, roots = encode(keys), keys.bundle(now_s)
    atomic.replace(folder / NAME, lambda file: file.write(data))
    atomic.replace(folder / ROOTS, lambda file: file.write(roots))


def stages(keys: Keys, now_s: float) -> Sequence[str]:
    """What each root does now: signs, comes, or goes."""
    signer = keys.signer(now_s)
    found = []
    for root in keys.roots:
        if root.signer == signer:
            found.append("signs")
        else:
            found.append("comes" if root.introduced_s + keys.life_s > now_s else "goes")
    return found
