"""What the folder says, as xDS resources for one client.

- ``*.yaml``, ``*.json`` with mesh documents: clusters, endpoints, listeners and names;
- ``names.json``: names beside those, ``{"host": ["address", ...]}`` or as istiod's /debug/ndsz;
- ``resources/*.json``: a list of resources with ``@type``, given to everybody as they are.

One wrong file, and all stays as it was, as with istiod.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from google.protobuf import any_pb2, json_format

from interceptor.config import VipRanges
from interceptor.mesh import export, parse, vip
from interceptor.mesh.build import Inventory
from interceptor.mesh.model import WorkloadGroup
from interceptor.mesh.table import MeshTable
from interceptor.mesh.vip import Allocation
from interceptor.sidecar import resource, resources
from interceptor.sidecar.setting import Settings
from tests.controlplane import schema, urls
from tests.controlplane.node import Node

DOMAIN = "cluster.local"
EMPTY_NAMES = schema.NameTable()


@dataclass(frozen=True, slots=True)
class Item:
    """One resource, ready to be sent."""

    name: str
    version: str
    any: any_pb2.Any


Catalogue = Mapping[str, Mapping[str, Item]]


class Content:
    """The folder as it was last read, with what registered itself. Not for several threads."""

    def __init__(self, folder: Path, state: Path, access_log: str = "") -> None:
        self.folder = folder
        self._access_log = access_log
        self._state = state / "vips.json"
        self._parsed: dict[str, parse.Parsed] = {}
        self._seen: dict[str, bytes] = {}
        self._registered: dict[str, parse.Parsed] = {}
        self._names: dict[str, dict[str, object]] = {}
        self._given: dict[str, dict[str, Item]] = {}
        self._inventories: dict[str, Inventory] = {}
        self._catalogues: dict[object, Catalogue] = {}
        self._allocation = self._remember()

    def read(self) -> bool:
        """Read the folder; whether anything is new. Where it raises ConfigError or ValueError,
        nothing is."""
        seen = {str(path): path.read_bytes() for path in sorted(self.folder.rglob("*"))
                if path.is_file() and path.suffix in (".yaml", ".yml", ".json")
                and not path.name.startswith(".")}  # fmt: skip
        if seen == self._seen:
            return False
        names: dict[str, dict[str, object]] = {}
        given: dict[str, dict[str, Item]] = {}
        parsed: dict[str, parse.Parsed] = {}
        for path, data in seen.items():
            if Path(path).name == "names.json":
                names |= _read_names(data)
            elif Path(path).parent.name == "resources":
                for item in _read_resources(data):
                    given.setdefault(item.any.type_url, {})[item.name] = item
            elif self._seen.get(path) == data:
                parsed[path] = self._parsed[path]
            else:
                parsed[path] = parse.parse(data, path)
        self._seen, self._names, self._given, self._parsed = seen, names, given, parsed
        self._catalogues.clear()
        return True

    def register(self, name: str, document: Mapping[str, object] | None) -> None:
        """Add, change or (None) remove what a client registered."""
        if document is None:
            self._registered.pop(name, None)
        else:
            self._registered[name] = parse.parse(json.dumps(document).encode(), f"({name})")
        self._catalogues.clear()

    def group(self, node: Node) -> WorkloadGroup | None:
        """The WorkloadGroup that ``node`` says it is of."""
        table = self._table(node.namespace)
        found = (item for item in table.groups if item.name == node.group)
        return next((item for item in found if item.namespace == node.namespace), None)

    def catalogue(self, node: Node, huge: int = 0) -> Catalogue:
        """Every resource for ``node``, by type and name."""
        key = (*node.view, huge)
        if key not in self._catalogues:
            self._catalogues[key] = self._build(node, huge)
        return self._catalogues[key]

    def _build(self, node: Node, huge: int) -> Catalogue:
        table = self._table(node.namespace)
        settings = Settings(
            node.namespace, DOMAIN, own_addresses=node.addresses, access_log=self._access_log
        )
        snapshot = resources.build(table, settings)
        made: dict[str, dict[str, Item]] = {url: {} for url in urls.ORDER}
        for kind, found in snapshot.resources.items():
            made[kind.value] = {
                name: Item(name, item.version, resource.decode(item))
                for name, item in found.items()
            }
        for url, items in self._given.items():
            made.setdefault(url, {}).update(items)
        names = export.name_table(table)["table"]
        assert isinstance(names, dict)
        named = {host: info for host, info in names.items() if info["ips"]}
        packed = _encode_names({**named, **self._names}, huge)
        made[urls.NAMES] = {"": Item("", sha256(packed.value).hexdigest()[:16], packed)}
        return made

    def _table(self, namespace: str) -> MeshTable:
        inventory = self._inventories.get(namespace)
        if inventory is None:
            inventory = Inventory(namespace, DOMAIN, self._allocation)
            self._inventories[namespace] = inventory
        wanted = {**self._parsed, **self._registered}
        for gone in set(inventory.files) - wanted.keys():
            inventory.remove(gone)
        for path, parsed in wanted.items():
            inventory.replace(path, parsed.pieces)
        table, _ = inventory.build()
        self._state.write_bytes(vip.encode(self._allocation))
        return replace(table)

    def _remember(self) -> Allocation:
        try:
            return vip.decode(self._state.read_bytes(), VipRanges())
        except (OSError, ValueError):
            return Allocation(VipRanges())


def _read_names(data: bytes) -> dict[str, dict[str, object]]:
    tree = json.loads(data)
    if not isinstance(tree, dict):
        raise ValueError("names.json: not a mapping")
    table = tree.get("table", tree)
    return {
        host: info if isinstance(info, dict) else {"ips": info, "registry": "External"}
        for host, info in table.items()
    }


def _read_resources(data: bytes) -> list[Item]:
    items = []
    for raw in json.loads(data):
        packed = any_pb2.Any()
        json_format.ParseDict(raw, packed)
        name = str(raw.get("name") or raw.get("cluster_name") or raw.get("clusterName"))
        items.append(Item(name, sha256(packed.value).hexdigest()[:16], packed))
    return items


def _encode_names(names: Mapping[str, object], huge: int) -> any_pb2.Any:
    table = schema.NameTable()
    for host, raw in names.items():
        info = raw if isinstance(raw, dict) else {}
        entry = table.table[host]
        entry.ips.extend(info.get("ips", ()))
        entry.registry = info.get("registry", "")
        entry.shortname = info.get("shortname", "")
        entry.namespace = info.get("namespace", "")
        entry.alt_hosts.extend(info.get("altHosts") or info.get("alt_hosts") or ())
    for number in range(huge):
        entry = table.table[f"host-{number}.huge.test"]
        entry.ips.append(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")
        entry.registry = "External"
    value = table.SerializeToString(deterministic=True)
    return any_pb2.Any(type_url=urls.NAMES, value=value)
