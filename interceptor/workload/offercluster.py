"""Services of this VM as documents in a cluster: made, replaced and removed through its API, and
only where they bear our mark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from interceptor.errors import InterceptorError
from interceptor.workload import offer
from interceptor.workload.installation import Tree, text
from interceptor.workload.offer import Offer

SERVICES, ENTRIES = "serviceentries", "workloadentries"
Tell = Callable[[str], None]


class Store(Protocol):
    """What of `cluster.Cluster` is needed."""

    def find(self, plural: str, namespace: str, name: str) -> Tree | None: ...
    def apply(self, plural: str, tree: Tree) -> None: ...
    def remove(self, plural: str, namespace: str, name: str) -> None: ...
    def list_entries(self, namespace: str, selector: str) -> list[Tree]: ...


def register(store: Store, wish: Offer, tell: Tell) -> None:
    """As `offerfile.register`."""
    offer.check(wish)
    service = offer.build_service(wish)
    found = store.find(SERVICES, wish.namespace, wish.name)
    if found is not None and found.get("spec") != service["spec"]:
        others = [name for name in _vms(store, wish.namespace, wish.name) if name != wish.vm]
        if others or not _is_service(found, wish.name):
            raise InterceptorError(
                f"ServiceEntry {wish.namespace}/{wish.name} is there, and says something else "
                f"(offered by {', '.join(others) or 'somebody else'}): register it alike, or "
                "under another name"
            )
    for tree in offer.build_entries(wish):
        name = text(tree, "metadata", "name")
        before = store.find(ENTRIES, wish.namespace, name)
        if before is not None and _by(before) != wish.vm:
            raise InterceptorError(
                f"WorkloadEntry {wish.namespace}/{name} was not registered by {wish.vm}"
            )
        store.apply(ENTRIES, _over(tree, before))
        tell(f"applied WorkloadEntry {wish.namespace}/{name}")
    if found is None or found.get("spec") != service["spec"]:
        store.apply(SERVICES, _over(service, found))
        tell(f"applied ServiceEntry {wish.namespace}/{wish.name}")


def deregister(store: Store, namespace: str, name: str, vm: str, tell: Tell) -> None:
    """As `offerfile.deregister`."""
    entries = store.list_entries(namespace, f"{offer.SERVICE}={name}")
    own = [text(tree, "metadata", "name") for tree in entries if _by(tree) == vm]
    if not own:
        others = ", ".join(_vms(store, namespace, name)) or "nobody"
        raise InterceptorError(f"{namespace}/{name} is registered by {others}, not by {vm}")
    service = store.find(SERVICES, namespace, name)
    if len(own) == len(entries) and service is not None and _is_service(service, name):
        store.remove(SERVICES, namespace, name)
        tell(f"removed ServiceEntry {namespace}/{name}")
    for each in own:
        store.remove(ENTRIES, namespace, each)
        tell(f"removed WorkloadEntry {namespace}/{each}")


def _vms(store: Store, namespace: str, name: str) -> list[str]:
    return sorted({_by(tree) for tree in store.list_entries(namespace, f"{offer.SERVICE}={name}")})


def _by(tree: Tree) -> str:
    return text(tree, "metadata", "annotations", offer.BY)


def _is_service(tree: Tree, name: str) -> bool:
    return text(tree, "metadata", "labels", offer.SERVICE) == name


def _over(tree: Tree, before: Tree | None) -> Tree:
    """In the place of what is there: the API refuses it where somebody was faster."""
    version = text(before, "metadata", "resourceVersion") if before is not None else ""
    metadata = tree["metadata"]
    assert isinstance(metadata, Mapping)
    return {**tree, "metadata": {**metadata, "resourceVersion": version}} if version else tree
