"""A bundle for a bug report as a file: texts, and a manifest of what is in it and what is not."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from interceptor.errors import InterceptorError

MOST_BYTES = 4 << 20
"""Of one text. Of a longer one the end is kept, where logs have what is new."""
MODE = 0o600
FOLDER = "interceptor-report"


@dataclass(frozen=True, slots=True)
class Item:
    """One text. ``removed``: how many secrets were taken out of it. ``left_out`` says why there
    is none."""

    name: str
    text: str = ""
    removed: int = 0
    left_out: str = ""


def cut(text: str, most: int = MOST_BYTES) -> str:
    """At most so many bytes of UTF-8, from the end, and a line that says so."""
    data = text.encode(errors="replace")
    if len(data) <= most:
        return text
    kept = data[len(data) - most :].decode(errors="replace")
    return f"... {len(data) - most} bytes before this are left out\n{kept}"


def manifest(items: Iterable[Item], head: Sequence[str]) -> str:
    """What is in a bundle, with sizes and what was taken out of each, and what is not in it."""
    every = list(items)
    lines = [*head, "", "In this bundle (bytes, secrets removed):"]
    for item in (item for item in every if not item.left_out):
        lines.append(f"  {item.name:<28} {len(item.text.encode()):>9} {item.removed:>5}")
    lines += ["", "Not in it:"]
    lines += [f"  {item.name:<28} {item.left_out}" for item in every if item.left_out]
    lines += [
        "",
        "Names and addresses of hosts are in it. Read it before you send it.",
    ]
    return "\n".join(lines) + "\n"


def write(path: Path, items: Sequence[Item], head: Sequence[str]) -> None:
    """Make the file, which only its owner may read: a zip by its name, else a tar.gz.

    Raises InterceptorError where there is such a file already, or it cannot be made; then
    nothing is left of it.
    """
    members = [("MANIFEST.txt", manifest(items, head))]
    members += [(item.name, item.text) for item in items if not item.left_out]
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    except OSError as error:
        raise InterceptorError(f"--bundle {path}: {error.strerror}; name another file") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), MODE)
            (_write_zip if path.suffix == ".zip" else _write_tar)(file, members)
    except BaseException as error:
        with suppress(OSError):
            path.unlink()
        if isinstance(error, OSError):
            raise InterceptorError(f"--bundle {path}: {error.strerror}") from error
        raise


def _write_tar(file: io.BufferedWriter, members: Iterable[tuple[str, str]]) -> None:
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in members:
            data = text.encode(errors="replace")
            info = tarfile.TarInfo(f"{FOLDER}/{name}")
            info.size, info.mode = len(data), MODE
            archive.addfile(info, io.BytesIO(data))


def _write_zip(file: io.BufferedWriter, members: Iterable[tuple[str, str]]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members:
            info = zipfile.ZipInfo(f"{FOLDER}/{name}")
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, MODE << 16
            archive.writestr(info, text.encode(errors="replace"))
