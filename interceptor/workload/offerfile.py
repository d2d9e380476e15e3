"""Services of this VM as files of mesh.files: written, and removed again. What somebody else wrote,
or edited, is never touched."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from interceptor.errors import InterceptorError
from interceptor.host import atomic
from interceptor.workload import offer
from interceptor.workload.offer import Offer

MODE = 0o644  # nothing in it is secret, and the folder may be shared
Tell = Callable[[str], None]


def service_path(folder: Path, namespace: str, name: str) -> Path:
    return folder / f"{name}.{namespace}.service.yaml"


def entry_path(folder: Path, namespace: str, name: str, vm: str) -> Path:
    return folder / f"{name}.{namespace}.{vm}.workload.yaml"


def register(folder: Path, wish: Offer, tell: Tell) -> None:
    """Write both. The workload comes first: a service without any would refuse its callers.

    Raises InterceptorError for a file that is not as we wrote it, and for a service that other
    VMs offer under the same name, but otherwise.
    """
    offer.check(wish)
    service = service_path(folder, wish.namespace, wish.name)
    entry = entry_path(folder, wish.namespace, wish.name, wish.vm)
    text = offer.render([offer.build_service(wish)])
    before = _read_own(service)
    _read_own(entry)
    others = [path for path in _entries(folder, wish.namespace, wish.name) if path != entry]
    if before not in ("", text) and others:
        names = ", ".join(path.name for path in others)
        raise InterceptorError(
            f"{service} offers {wish.name} with other ports or another host, and so do {names}: "
            "register it alike, or under another name"
        )
    for path, content in ((entry, offer.render(offer.build_entries(wish))), (service, text)):
        _write(path, content)
        tell(f"wrote {path}")


def deregister(folder: Path, namespace: str, name: str, vm: str, tell: Tell) -> None:
    """Remove this VM's workload; the service too where no other VM offers it.

    Raises InterceptorError where there is none, and for a file that is not as we wrote it.
    """
    service, entry = service_path(folder, namespace, name), entry_path(folder, namespace, name, vm)
    if not entry.exists():
        known = ", ".join(path.name for path in _entries(folder, namespace, name)) or "none"
        raise InterceptorError(f"{entry} is not there: {name} is registered by {known}")
    _read_own(entry)
    is_last = _entries(folder, namespace, name) == [entry]
    if is_last:
        _read_own(service)
    for path in (service, entry) if is_last else (entry,):
        path.unlink(missing_ok=True)
        tell(f"removed {path}")
    if not is_last:
        tell(f"{service} stays: other VMs offer {name}")


def _entries(folder: Path, namespace: str, name: str) -> list[Path]:
    """The workload files of a service, of every VM."""
    return sorted(_of(folder, f"{name}.{namespace}."))


def _of(folder: Path, head: str) -> Iterator[Path]:
    for path in folder.iterdir() if folder.is_dir() else ():
        vm = path.name.removeprefix(head).removesuffix(".workload.yaml")
        if path.name == f"{head}{vm}.workload.yaml" and "." not in vm:
            yield path


def _read_own(path: Path) -> str:
    """Its text; empty where it is not there. Raises InterceptorError for another's."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise InterceptorError(f"{path} cannot be read: {error}") from error
    if not offer.is_ours(text):
        raise InterceptorError(
            f"{path} was not written by `service register`, or edited since: move it away first"
        )
    return text


def _write(path: Path, text: str) -> None:
    def write(file: BinaryIO) -> None:
        file.write(text.encode())
        os.fchmod(file.fileno(), MODE)

    atomic.replace(path, write)
