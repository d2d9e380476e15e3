"""Which workloads a selector picks, and who is to be asked again when one changes.

Both ways are indexed by one label each, so that neither a change nor a load
walks over every workload for every selector. A selector picks within its own
namespace; one without labels picks everything there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from interceptor.mesh.model import Labels, Workload
from interceptor.mesh.resource import Workloads

Pick = Callable[[str, Labels], list[Workload]]
"""namespace and selector → the workloads that it picks there"""

_Bucket = tuple[str, str, str]  # namespace, key, value; key "" for everything
_Identity = tuple[bool, str, str]  # is a Pod, namespace, name


class Index:
    """The workloads of the mesh, and the names of the hosts that select among them."""

    def __init__(self) -> None:
        self._said: dict[_Identity, list[Workloads]] = {}
        self._members: dict[_Bucket, dict[_Identity, Workloads]] = {}
        self._followers: dict[_Bucket, dict[tuple[str, Labels], int]] = {}

    def add(self, found: Workloads) -> set[str]:
        """Takes a workload in; returns the hosts that it concerns."""
        return self._change(found, [*self._said.get(_identity(found), ()), found])

    def drop(self, found: Workloads) -> set[str]:
        said = [other for other in self._said.get(_identity(found), ()) if other is not found]
        return self._change(found, said)

    def follow(self, namespace: str, selector: Labels, host: str) -> None:
        """From now on ``host`` is concerned by what ``selector`` picks."""
        followers = self._followers.setdefault(_bucket(namespace, selector), {})
        followers[host, selector] = followers.get((host, selector), 0) + 1

    def unfollow(self, namespace: str, selector: Labels, host: str) -> None:
        bucket = _bucket(namespace, selector)
        followers = self._followers[bucket]
        followers[host, selector] -= 1
        if not followers[host, selector]:
            del followers[host, selector]
            if not followers:
                del self._followers[bucket]

    def pick(self, namespace: str, selector: Labels) -> list[Workload]:
        """The workloads that bear all labels of ``selector``, by name."""
        members = self._members.get(_bucket(namespace, selector), {})
        wanted = frozenset(selector)
        return [
            workload
            for _, found in sorted(members.items(), key=lambda item: item[0])
            for workload in found.members
            if wanted.issubset(workload.labels)
        ]

    def everything(self) -> tuple[Workload, ...]:
        return tuple(
            workload
            for _, said in sorted(self._said.items(), key=lambda item: item[0])
            for workload in said[-1].members
        )

    def _change(self, found: Workloads, said: list[Workloads]) -> set[str]:
        """Several documents of one name: the last file's counts."""
        identity = _identity(found)
        said.sort(key=lambda other: (other.origin, repr(other)))
        before = self._said.get(identity, [])
        concerned: set[str] = set()
        if before:
            concerned |= self._leave(identity, before[-1])
        if said:
            self._said[identity] = said
            concerned |= self._enter(identity, said[-1])
        else:
            del self._said[identity]
        return concerned

    def _enter(self, identity: _Identity, found: Workloads) -> set[str]:
        for bucket in _buckets(found):
            self._members.setdefault(bucket, {})[identity] = found
        return self._concerned(found)

    def _leave(self, identity: _Identity, found: Workloads) -> set[str]:
        for bucket in _buckets(found):
            members = self._members[bucket]
            del members[identity]
            if not members:
                del self._members[bucket]
        return self._concerned(found)

    def _concerned(self, found: Workloads) -> set[str]:
        labels = frozenset(found.members[0].labels) if found.members else frozenset()
        return {
            host
            for bucket in _buckets(found)
            for host, selector in self._followers.get(bucket, ())
            if labels.issuperset(selector)
        }


def _identity(found: Workloads) -> _Identity:
    return (found.origin.startswith("Pod "), found.namespace, found.name)


def _bucket(namespace: str, selector: Labels) -> _Bucket:
    """The one bucket under which a selector is kept, and its members are found."""
    return (namespace, *selector[0]) if selector else (namespace, "", "")


def _buckets(found: Workloads) -> Iterable[_Bucket]:
    """Every bucket that a workload stands in; none for one without an address."""
    if found.members:
        yield (found.namespace, "", "")
        for key, value in found.members[0].labels:
            yield (found.namespace, key, value)
