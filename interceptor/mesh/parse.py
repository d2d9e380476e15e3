"""A file of documents to values, with every problem of every document at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import PurePath
from typing import NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from interceptor.errors import ConfigError, Problem
from interceptor.mesh import (
    document,
    egress,
    field,
    istio,
    kubernetes,
    network,
    peering,
    plain,
    refusal,
    shape,
)
from interceptor.mesh.document import Piece
from interceptor.mesh.field import Note, Notes
from interceptor.mesh.refusal import Tree
from interceptor.mesh.resource import Resource

Shape = TypeVar("Shape")
Read = Callable[[Tree, str, Notes], Resource]

_ISTIO = tuple(f"networking.istio.io/{version}" for version in ("v1", "v1beta1", "v1alpha3"))
_MESH = ("mesh.istio.io/v1alpha1",)
_SECURITY = ("security.istio.io/v1", "security.istio.io/v1beta1")
_LIST_OF = "List"
_ROUNDS = 16  # of mending one document; what is behind a wrong part shows a round later


class Parsed(NamedTuple):
    """What a file says: resources by the digest of the piece they came from.

    ``ignored`` names what was passed over, as ``Sidecar bookinfo/default``, of
    the pieces that were not known from before.
    """

    pieces: dict[int, tuple[Resource, ...]]
    ignored: tuple[str, ...] = ()


def parse(
    data: bytes, where: str, known: Mapping[int, tuple[Resource, ...]] | None = None
) -> Parsed:
    """The resources of the file ``where``, whose bytes are ``data``.

    Pieces whose digest is in ``known`` (this file's last ``pieces``) are taken
    from there. Raises ConfigError with every problem of the file.
    """
    known = known or {}
    reader = plain.Reader()
    pieces: dict[int, tuple[Resource, ...]] = {}
    fresh: list[str] = []
    problems: list[Problem] = []
    ignored: list[str] = []
    for piece in document.split(data):
        digest = piece.digest
        before = known.get(digest)
        if before is None:
            before = _piece(piece, where, reader, problems, ignored)
            fresh += [resource.origin for resource in before]
        if before:
            pieces[digest] = before
    if problems:
        raise ConfigError(problems)
    if _is_said_again(fresh, pieces):
        pieces = _last_of_each(pieces, ignored)
    return Parsed(pieces, tuple(ignored))


def _is_said_again(fresh: list[str], pieces: dict[int, tuple[Resource, ...]]) -> bool:
    """Whether a document stands twice in ``pieces``. Those that were known do not: what is left
    of them is what `_last_of_each` left of an earlier file."""
    if not fresh:
        return False
    wanted = set(fresh)
    count = sum([resource.origin in wanted for found in pieces.values() for resource in found])
    return count != len(wanted)


def _last_of_each(
    pieces: dict[int, tuple[Resource, ...]], ignored: list[str]
) -> dict[int, tuple[Resource, ...]]:
    """The same without documents that the file says again further down, as `kubectl apply` does.

    What is left of a piece gets another digest: it is not what its text says.
    """
    origins = [resource.origin for found in pieces.values() for resource in found]
    last = {resource.origin: resource for found in pieces.values() for resource in found}
    kept: dict[int, tuple[Resource, ...]] = {}
    for digest, found in pieces.items():
        left = tuple(resource for resource in found if last[resource.origin] is resource)
        if left:
            kept[digest if len(left) == len(found) else hash((digest, len(left)))] = left
    counts = Counter(origins)
    names = (origin.rpartition(" (")[0] for origin in last if counts[origin] > 1)
    ignored += [f"{name} (said again below)" for name in names]
    return kept


def _piece(
    piece: Piece, where: str, reader: plain.Reader, problems: list[Problem], ignored: list[str]
) -> tuple[Resource, ...]:
    try:
        trees = document.decode(piece, where, reader)
    except ConfigError as error:
        problems += error.problems
        return ()
    found: list[Resource] = []
    lines: list[dict[str, int]] | None = None
    for index, tree in enumerate(trees):
        for part in _documents(tree, ""):
            notes: Notes = []
            resource = _read(part, where, notes)
            if notes:
                if lines is None:
                    lines = document.lines(piece)
                keys = lines[index] if index < len(lines) else {}
                found_here = [_problem(where, part, note, keys) for note in notes]
                problems += sorted(found_here, key=lambda problem: problem.line)
            elif resource is None:
                ignored.append(part.name)
            else:
                found.append(resource)
    return tuple(found)


class _Part(NamedTuple):
    """One document, and the key under which it stands in its text (``items[3]``)."""

    tree: object
    key: str

    @property
    def name(self) -> str:
        """``ServiceEntry bookinfo/reviews``, as far as the document tells."""
        if not isinstance(self.tree, dict):
            return ""
        metadata = self.tree.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        kind, name = self.tree.get("kind", "(no kind)"), metadata.get("name", "(no name)")
        return f"{kind} {metadata.get('namespace') or 'default'}/{name}"


def _documents(tree: object, key: str) -> list[_Part]:
    """The documents in a tree: itself, or the items of a List (or of a JSON array)."""
    items: object = tree
    inner = key
    if isinstance(tree, dict):
        if not str(tree.get("kind", "")).endswith(_LIST_OF):
            return [_Part(tree, key)]
        items, inner = tree.get("items") or [], f"{key}.items" if key else "items"
    if not isinstance(items, list):
        return [_Part(tree, key)]
    return [
        part for index, item in enumerate(items) for part in _documents(item, f"{inner}[{index}]")
    ]


def _problem(where: str, part: _Part, note: Note, keys: Mapping[str, int]) -> Problem:
    key = note.key if note.key != "(document)" else ""
    full = f"{part.key}.{key}" if part.key and key else part.key or key
    line = document.line_of(full, dict(keys))
    return Problem(where, note.key, note.value, note.legal, line, part.name)


def _read(part: _Part, where: str, notes: Notes) -> Resource | None:
    """The document as a value; None where its kind is none of ours, or with notes."""
    tree = part.tree
    if not isinstance(tree, dict):
        notes.append(Note("(document)", repr(tree), "a mapping with apiVersion and kind"))
        return None
    version, kind = tree.get("apiVersion"), tree.get("kind")
    if not (version and kind and isinstance(version, str) and isinstance(kind, str)):
        for key, value in (("apiVersion", version), ("kind", kind)):
            if not isinstance(value, str) or not value:
                written = field.MISSING if value is None else repr(value)
                notes.append(Note(key, written, "a string, as in every Kubernetes document"))
        return None
    read = _READERS.get((version, kind))
    if read is None:
        return None
    return read(tree, f"{part.name} ({_file_name(where)})", notes)


@lru_cache(maxsize=64)
def _file_name(where: str) -> str:
    return PurePath(where).name


def _reader(form: type[Shape], read: Callable[[Shape, str, Notes], Resource]) -> Read:
    """Checks the shape, then reads; on the slow path it mends the shape to read on."""

    adapter: list[TypeAdapter[Shape]] = []  # made when first needed: it takes a while

    def run(tree: Tree, origin: str, notes: Notes) -> Resource:
        if not adapter:
            adapter.append(TypeAdapter(form))
        try:
            checked = adapter[0].validate_python(tree)
        except ValidationError:
            checked = _mended(adapter[0], tree, notes)
        said = list(notes)
        later: Notes = []
        _check_metadata(tree.get("metadata"), later)
        resource = read(checked, origin, later)
        if later:
            notes += refusal.unsaid(later, said)
        return resource

    return run


def _mended(adapter: TypeAdapter[Shape], tree: Tree, notes: Notes) -> Shape:
    bare = refusal.without_nulls(tree)
    for _ in range(_ROUNDS):
        try:
            return adapter.validate_python(bare)
        except ValidationError as error:
            assert isinstance(bare, dict)
            notes += refusal.unsaid(refusal.notes(error, bare), notes)
            refusal.mend(error, bare)
    return adapter.validate_python({})  # wrong in a way that cannot be taken out; it is told


def _check_metadata(metadata: object, notes: Notes) -> None:
    found = metadata if isinstance(metadata, dict) else {}
    name, namespace = found.get("name"), found.get("namespace")
    field.name(notes, "metadata.name", name if isinstance(name, str) else "")
    if isinstance(namespace, str):
        field.label(notes, "metadata.namespace", namespace)


_READERS: dict[tuple[str, str], Read] = {
    (version, kind): read
    for versions, kind, read in (
        (_ISTIO, "ServiceEntry", _reader(shape.ServiceEntry, istio.service_entry)),
        (_ISTIO, "WorkloadEntry", _reader(shape.WorkloadEntry, istio.workload_entry)),
        (_ISTIO, "WorkloadGroup", _reader(shape.WorkloadGroup, istio.workload_group)),
        (_ISTIO, "Sidecar", _reader(shape.Sidecar, egress.read)),
        (_MESH, "MeshNetworks", _reader(network.Document, network.read)),
        (_SECURITY, "PeerAuthentication", _reader(peering.Document, peering.read)),
        (("v1",), "Service", _reader(shape.Service, kubernetes.service)),
        (("v1",), "Endpoints", _reader(shape.Endpoints, kubernetes.endpoints)),
        (
            ("discovery.k8s.io/v1",),
            "EndpointSlice",
            _reader(shape.EndpointSlice, kubernetes.endpoint_slice),
        ),
        (("v1",), "Pod", _reader(shape.Pod, kubernetes.pod)),
    )
    for version in versions
}
