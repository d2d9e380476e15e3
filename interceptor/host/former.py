"""One path of the file system as it is now, and how it is made so again: kind, bytes, mode, owner,
time of change, extended attributes."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from interceptor.host import atomic

DRAFT = ".interceptor-new"


class Kind(StrEnum):
    ABSENT = "absent"
    FILE = "file"
    LINK = "link"
    FOLDER = "folder"
    OTHER = "other"
    """A socket, a pipe, a device: never made, never removed."""


@dataclass(frozen=True, slots=True)
class Former:
    """``digest`` is SHA-256 of a file's bytes, which are kept elsewhere, and of the names in a
    folder; ``target`` a link's. ``attributes``: name → value in hexadecimal."""

    kind: Kind
    mode: int = 0
    uid: int = 0
    gid: int = 0
    changed_ns: int = 0
    digest: str = ""
    target: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


ABSENT = Former(Kind.ABSENT)


def observe(path: Path) -> tuple[Former, bytes]:
    """What is there, links not followed; and the bytes of a file. Raises OSError where it cannot
    be looked at."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT, b""
    kind, data, target, seal = Kind.OTHER, b"", "", ""
    if stat.S_ISREG(found.st_mode):
        kind, data = Kind.FILE, path.read_bytes()
        seal = digest(data)
    elif stat.S_ISLNK(found.st_mode):
        kind, target = Kind.LINK, os.readlink(path)
    elif stat.S_ISDIR(found.st_mode):
        kind = Kind.FOLDER
        seal = digest("\0".join(sorted(os.listdir(path))).encode("utf-8", "surrogateescape"))
    former = Former(
        kind=kind,
        mode=stat.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
        changed_ns=found.st_mtime_ns,
        digest=seal,
        target=target,
        attributes=_attributes(path),
    )
    return former, data


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def is_same(one: Former, other: Former) -> bool:
    """Whether the contents are the same, whatever mode, owner and time."""
    return (one.kind, one.digest, one.target) == (other.kind, other.digest, other.target)


def revert(path: Path, former: Former, data: bytes) -> None:
    """Make ``path`` what it was: ``data`` is a file's bytes. A folder is made, but not filled; an
    absent path is removed, a folder only where it is empty. Raises OSError."""
    if former.kind is Kind.ABSENT:
        _remove(path)
    elif former.kind is Kind.FOLDER:
        if not path.is_dir() or path.is_symlink():
            _remove(path)
            path.mkdir()
        settle(path, former)
    elif former.kind is Kind.FILE:
        replace(path, data, former)
    elif former.kind is Kind.LINK:
        draft = path.with_name(path.name + DRAFT)
        draft.unlink(missing_ok=True)
        draft.symlink_to(former.target)
        settle(draft, former)
        draft.replace(path)


def replace(path: Path, data: bytes, former: Former) -> None:
    """Write a file with the mode, owner, attributes and (unless 0) time of ``former``, at once:
    whoever reads sees all of the old one or all of the new one, also after a power cut."""
    draft = path.with_name(path.name + DRAFT)
    draft.unlink(missing_ok=True)  # of a process that was killed
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(draft, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    settle(draft, former)
    draft.replace(path)
    atomic.sync_folder(path.parent)


def settle(path: Path, former: Former) -> None:
    """Owner, mode, attributes and time of what is there."""
    os.chown(path, former.uid, former.gid, follow_symlinks=False)
    if former.kind is not Kind.LINK:
        os.chmod(path, former.mode)
        for name, value in former.attributes.items():
            with suppress(OSError):  # a security module may keep its own to itself
                os.setxattr(path, name, bytes.fromhex(value))
    if former.changed_ns:
        settle_time(path, former)


def settle_time(path: Path, former: Former) -> None:
    """The time alone, of a folder that is somebody else's."""
    os.utime(path, ns=(former.changed_ns, former.changed_ns), follow_symlinks=False)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _attributes(path: Path) -> dict[str, str]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {name: os.getxattr(path, name, follow_symlinks=False).hex() for name in names}
    except OSError:
        return {}  # a file system without any
