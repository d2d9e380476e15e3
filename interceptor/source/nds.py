"""istiod's name table (istio.networking.nds.v1.NameTable) as a mesh table.

It comes whole at each change of any host. An entry that says what it said is not read anew: what
is remembered is the keyed SipHash (64 bits) of each entry's bytes, with the host that it gave.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from interceptor.errors import Problem
from interceptor.mesh import nametable
from interceptor.mesh.field import Note, Notes
from interceptor.mesh.model import Host
from interceptor.mesh.table import MeshTable
from interceptor.source import schema

TYPE = "type.googleapis.com/istio.networking.nds.v1.NameTable"
WHERE = "control plane"
TOLD = 100  # entries that are wrong are told one by one, so many of them


class NoNameTable(ValueError):
    """These bytes are no name table; the message says why."""


class Register:
    """Reads one control plane's name table again and again."""

    def __init__(self) -> None:
        self._known: dict[int, Host | None] = {}
        self._notes: dict[int, Notes] = {}

    def parse(self, data: bytes) -> MeshTable:
        """The table. Hosts that are as they were the last time are the same objects.

        An entry that is not legal is left out and told as a warning, as Istio's agent does:
        one of 100,000 must not keep the others from changing. Raises NoNameTable.
        """
        try:
            return self._parse(data)
        except DecodeError as error:
            raise NoNameTable(f"the name table cannot be decoded: {error}") from error

    def _parse(self, data: bytes) -> MeshTable:
        hosts: dict[str, Host] = {}
        known: dict[int, Host | None] = {}
        wrong: dict[int, Notes] = {}
        before = self._known
        for entry in schema.decode_table(data).table:
            digest = hash(entry)
            if digest in before:
                host = before[digest]
                if digest in self._notes:
                    wrong[digest] = self._notes[digest]
            else:
                notes: Notes = []
                host = _host(notes, entry)
                if notes:
                    wrong[digest] = notes
            known[digest] = host
            if host is not None:
                hosts[host.name] = host
        self._known, self._notes = known, wrong
        return MeshTable(hosts, warnings=_warnings(wrong))


def _host(notes: Notes, data: bytes) -> Host | None:
    """The host of an entry; None where it has no name or no address."""
    entry = schema.decode_entry(data)
    info = entry.value
    found: Notes = []
    host = nametable.build(
        found,
        entry.key,
        {
            "ips": list(info.ips),
            "registry": info.registry,
            "shortname": info.shortname,
            "namespace": info.namespace,
            "altHosts": list(info.alt_hosts),
        },
        WHERE,
    )
    notes.extend(found)
    name = f"table[{entry.key!r}]"
    is_named = all(note.key != name for note in found)
    return host if is_named else None


def _warnings(wrong: dict[int, Notes]) -> tuple[Problem, ...]:
    found: list[Note] = [note for notes in wrong.values() for note in notes]
    told = [Problem(WHERE, note.key, note.value, f"{note.legal}; left out") for note in found]
    if len(told) > TOLD:
        more = Problem(WHERE, "table", f"{len(told) - TOLD} more", "as above")
        return (*told[:TOLD], more)
    return tuple(told)
