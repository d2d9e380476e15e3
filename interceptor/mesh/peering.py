"""PeerAuthentication documents: read, and followed as they come and go."""

from __future__ import annotations

from sys import intern
from typing import Literal

from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from interceptor.mesh import field, shape
from interceptor.mesh.field import Note, Notes
from interceptor.mesh.policy import Mode, PeerAuthentication

HIGHEST = 65535


@shape.STRICT
class Mtls(TypedDict, total=False):
    mode: Literal["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]


@shape.STRICT
class Selector(TypedDict, total=False):
    matchLabels: shape.Map


@shape.STRICT
class Spec(TypedDict, total=False):
    selector: Selector
    mtls: Mtls
    portLevelMtls: dict[int | str, Mtls]


@shape.STRICT
class Document(TypedDict, total=False):
    metadata: shape.Metadata
    spec: Spec


def read(found: Document, origin: str, notes: Notes) -> PeerAuthentication:
    metadata, spec = found.get("metadata", {}), found.get("spec", {})
    labels = spec.get("selector", {}).get("matchLabels", {})
    ports: list[tuple[int, Mode | None]] = []
    for text, said in spec.get("portLevelMtls", {}).items():
        key = f"spec.portLevelMtls.{text}"
        if not (str(text).isdecimal() and 0 < int(text) <= HIGHEST):
            notes.append(Note(key, repr(text), "a port number, 1..65535, of the application"))
            continue
        ports.append((int(text), _mode(said)))
    if ports and not labels:
        legal = "only with a selector: ports are a workload's"
        notes.append(Note("spec.portLevelMtls", f"{len(ports)} ports", legal))
    return PeerAuthentication(
        name=metadata.get("name", ""),
        namespace=intern(metadata.get("namespace", "default")),
        origin=origin,
        selector=field.labels(labels),
        mode=_mode(spec.get("mtls", {})),
        ports=tuple(ports),
    )


def _mode(said: Mtls) -> Mode | None:
    mode = said.get("mode", "UNSET")
    return None if mode == "UNSET" else Mode(mode)


class Peering:
    """The documents there are now."""

    def __init__(self) -> None:
        self._found: dict[int, PeerAuthentication] = {}
        self._is_new = False

    def add(self, resource: object) -> None:
        if isinstance(resource, PeerAuthentication):
            self._found[id(resource)] = resource
            self._is_new = True

    def drop(self, resource: object) -> None:
        if self._found.pop(id(resource), None) is not None:
            self._is_new = True

    @property
    def found(self) -> tuple[PeerAuthentication, ...]:
        return tuple(self._found.values())

    def renew(self) -> tuple[PeerAuthentication, ...] | None:
        """All of them, where there is news since it was last asked."""
        was, self._is_new = self._is_new, False
        return self.found if was else None
