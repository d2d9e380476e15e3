"""Where key, certificates and token are kept: files of root alone (0600), each replaced as a
whole, where a reboot does not lose them."""

from __future__ import annotations

import logging
from pathlib import Path

from interceptor.host import atomic, filesystem
from interceptor.workload import bearer, certificate, credential
from interceptor.workload.certificate import CertificateError
from interceptor.workload.credential import Credential

log = logging.getLogger(__name__)

NAME = "identity.pem"
TOKEN_NAME = "istio-token"
FOLDER_MODE = 0o700
TOKEN_LIMIT_BYTES = 1 << 16
LIMIT_BYTES = 4 * certificate.PEM_LIMIT_BYTES
OUTPUT = ("root-cert.pem", "key.pem", "cert-chain.pem")
"""Names as Istio's agent writes them. The key before its chain: who waits for the chain to change
finds the key that it belongs to."""


def save(folder: Path, made: Credential) -> None:
    """Keep it in ``folder``, which is ours. Raises OSError."""
    _make(folder)
    folder.chmod(FOLDER_MODE)
    _write(folder / NAME, credential.encode(made))


def load(folder: Path) -> Credential | None:
    """What was kept; None where nothing was, or it is no longer what it was."""
    try:
        return credential.decode(_read(folder / NAME, LIMIT_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, CertificateError) as error:
        log.warning("%s cannot be used, a new certificate is asked for: %s", folder / NAME, error)
        return None


def hand_out(folder: Path, made: Credential) -> None:
    """Write it for other programs. Raises OSError. A folder that is there keeps its mode."""
    _make(folder)
    for name, data in zip(OUTPUT, (made.root_pem, made.key_pem, made.chain_pem), strict=True):
        _write(folder / name, data)


def _make(folder: Path) -> None:
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)


def _write(path: Path, data: bytes) -> None:
    atomic.replace(path, lambda file: file.write(data))


def _read(path: Path, limit: int) -> bytes:
    """Raises OSError, also for a file that is larger."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(f"{path} has more than {limit} bytes")
    return data


def read_token(path: Path) -> str:
    """The token now; empty where there is none. Raises OSError."""
    try:
        return _read(path, TOKEN_LIMIT_BYTES).decode("ascii", errors="replace").strip()
    except FileNotFoundError:
        return ""


def mirror_token(path: Path, folder: Path, now_s: float) -> str:
    """Keep a copy of a token that lies where a reboot loses it, and put it back where it was lost.
    What was done, for the log; empty: nothing had to be. Raises OSError."""
    copy = folder / TOKEN_NAME
    if path == copy or not filesystem.is_volatile(path):
        return ""
    now, kept = read_token(path), read_token(copy)
    if now:
        if now == kept or end_of(now) < end_of(kept):
            return ""
        _write(copy, now.encode() + b"\n")
        return f"{path} lies in memory; a copy is kept at {copy}"
    if not kept or end_of(kept) <= now_s:
        return ""
    _write(path, kept.encode() + b"\n")
    return f"{path} was lost, as by a reboot; put back from {copy}"


def end_of(token: str) -> float:
    """When it ends, in seconds since 1970; never (inf) where it does not tell, 0 where it is no
    token."""
    try:
        ends = bearer.decode(token).not_after_s
    except bearer.BearerError:
        return 0.0
    return float("inf") if ends is None else ends
