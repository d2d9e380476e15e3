"""istiod's name table (the JSON of its ``/debug/ndsz``) as a mesh table.

``{"table": {"<host>": {"ips": [...], "registry": "Kubernetes|External",
"shortname": "...", "namespace": "...", "altHosts": [...]}}}``, the keys in
snake_case too. It names addresses and nothing else: no ports, no endpoints.
"""

from __future__ import annotations

from collections.abc import Iterable
from sys import intern

import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from interceptor.errors import ConfigError, Problem
from interceptor.mesh import field, refusal
from interceptor.mesh.field import Note, Notes
from interceptor.mesh.model import Address, Host, Kind, Resolution
from interceptor.mesh.table import MeshTable


@with_config(ConfigDict(strict=True, extra="ignore"))
class Info(TypedDict, total=False):
    """What a name table says of one host."""

    ips: list[str]
    registry: str
    shortname: str
    namespace: str
    altHosts: list[str]
    alt_hosts: list[str]


_INFO = TypeAdapter(Info)


def parse(data: bytes, where: str) -> MeshTable:
    """The table that ``data`` says. An entry without addresses is left out, as Istio's agent
    does. Raises ConfigError with every problem at once.
    """
    return Book(where).parse(data)


class Book:
    """Reads one name table again and again: an entry that says what it said is not read anew.

    Remembered is the keyed SipHash (64 bits) of each entry's text with the host that it gave,
    so that a change of one in 100,000 costs a sixth of reading them all.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._known: dict[int, Host] = {}

    def parse(self, data: bytes) -> MeshTable:
        """As `parse`; hosts that are as they were the last time are the same objects."""
        notes: Notes = []
        hosts: dict[str, Host] = {}
        known: dict[int, Host] = {}
        for text, info in _entries(data, self._where):
            digest = hash((text, orjson.dumps(info)))
            host = self._known.get(digest) or _host(notes, text, info, self._where)
            if host is not None:
                hosts[host.name] = known[digest] = host
        if notes:
            problems = [Problem(self._where, note.key, note.value, note.legal) for note in notes]
            raise ConfigError(problems)
        self._known = known
        return MeshTable(hosts)


def _entries(data: bytes, where: str) -> Iterable[tuple[str, object]]:
    """Each host's text with what is said of it. Raises ConfigError."""
    try:
        tree = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        problem = Problem(where, "(document)", error.msg, "JSON", error.lineno)
        raise ConfigError([problem]) from error
    table = tree.get("table") if isinstance(tree, dict) else None
    if not isinstance(table, dict):
        legal = 'a mapping {"table": {host: {"ips": [...], ...}}}'
        raise ConfigError([Problem(where, "table", field.MISSING, legal)])
    return table.items()


def _info(notes: Notes, key: str, raw: object) -> Info | None:
    try:
        return _INFO.validate_python(raw)
    except ValidationError:
        pass
    if not isinstance(raw, dict):
        notes.append(Note(key, repr(raw), "a mapping with ips"))
        return None
    bare = {name: value for name, value in raw.items() if value is not None}
    try:
        return _INFO.validate_python(bare)
    except ValidationError as error:
        for note in refusal.notes(error, bare):
            notes.append(note._replace(key=f"{key}.{note.key}"))
        return None


def _host(notes: Notes, text: str, raw: object, where: str) -> Host | None:
    info = _info(notes, f"table[{text!r}]", raw)
    return None if info is None else build(notes, text, info, where)


def build(notes: Notes, text: str, info: Info, where: str) -> Host | None:
    """The host of one entry; None without an address. ``notes`` gets what is wrong with it."""
    key = f"table[{text!r}]"
    name = field.host(notes, key, text)
    addresses: list[Address] = []
    for index, ip in enumerate(info.get("ips", ())):
        wrong = len(notes)
        address = field.address(notes, f"{key}.ips[{index}]", ip)
        if address is not None and len(notes) == wrong:
            addresses.append(address)
    if not addresses:
        return None
    is_kubernetes = info.get("registry") == "Kubernetes"
    others = info.get("altHosts") or info.get("alt_hosts") or () if is_kubernetes else ()
    return Host(
        name,
        intern(info.get("namespace", "")),
        Kind.NAME_TABLE,
        tuple(dict.fromkeys(addresses)),
        (),
        (),
        Resolution.NONE,
        "",
        intern(f"name table ({where})"),
        False,
        tuple([field.host(notes, f"{key}.altHosts", other) for other in others]),
        (),
        False,
        is_kubernetes,
    )
