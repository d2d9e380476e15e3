"""What a VM's bundle makes of a host: the files that `join` writes, and what is wrong with it.

Pure: the bundle's files and the present configuration come in as bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from interceptor import config as configuration
from interceptor import migration
from interceptor.config import DEFAULT_PATH, Config
from interceptor.errors import ConfigError, Problem
from interceptor.host.footprint import Draft
from interceptor.mesh import parse
from interceptor.mesh.resource import Group
from interceptor.workload import bundle, inspection

Files = Mapping[str, bytes]
Tree = dict[str, object]


@dataclass(frozen=True, slots=True)
class Ground:
    """What is known of the host. ``present`` is its configuration file, empty where there is none;
    ``now_s`` its clock; the look-ups give ids for names of cluster.env."""

    present: str = ""
    now_s: float = 0.0
    user_id: Callable[[str], int | None] = lambda _name: None
    group_id: Callable[[str], int | None] = lambda _name: None


@dataclass(frozen=True, slots=True)
class Joining:
    """``drafts``: the files, the configuration first. ``notes``: what became of settings that have
    no counterpart, and what else somebody should know before."""

    config: Config
    drafts: tuple[Draft, ...]
    notes: tuple[str, ...]

    @property
    def member(self) -> str:
        """``GROUP (or VM) in NAMESPACE``, and by which name it proves itself where it does."""
        node = self.config.node
        name = self.config.workload.group or node.name or "this VM"
        if not inspection.needs_identity(self.config):
            return f"{name} in {node.namespace}"
        account = f"ns/{node.namespace}/sa/{node.service_account}"
        trust = self.config.identity.trust_domain
        return f"{name} in {node.namespace}, as spiffe://{trust}/{account}"

    @property
    def control_plane(self) -> str:
        mesh = self.config.mesh
        if mesh.source == "istiod":
            return f"istiod at {', '.join(mesh.istiod.addresses)}"
        return f"documents in {', '.join(map(str, mesh.files))}"


def decide(files: Files, where: str, ground: Ground) -> Joining:
    """The whole of it. Raises ConfigError with every problem of the bundle."""
    problems = list(inspection.check_files(files, where))
    if problems:
        raise ConfigError(problems)
    found = _Reading(files, where, problems)
    settings, notes = found.settings(ground)
    present = found.tree(ground.present, str(DEFAULT_PATH))
    own = found.tree(found.text(bundle.SETTINGS), f"{where}/{bundle.SETTINGS}")
    placed = _place(_lay(settings, own), bundle.parse_hosts(found.text(bundle.HOSTS)))
    tree = _lay(present, placed)
    try:
        config = configuration.parse(yaml.safe_dump(tree), where)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from error
    problems += inspection.check(files, config, where, ground.now_s)
    problems += found.check_group(config)
    if problems:
        raise ConfigError(problems)
    drafts = (
        Draft(DEFAULT_PATH, _render(tree, notes, where), 0o644),
        *_credentials(files, config),
        *_documents(files, config),
    )
    hints = (*_hints(config, bundle.parse_hosts(found.text(bundle.HOSTS))),)
    return Joining(config, drafts, (*notes, *inspection.notes(files, config), *hints))


@dataclass(frozen=True, slots=True)
class _Reading:
    """A bundle's texts; what is wrong with them is collected in ``problems``."""

    files: Files
    where: str
    problems: list[Problem]

    def text(self, name: str) -> str:
        return self.files.get(name, b"").decode()

    def settings(self, ground: Ground) -> tuple[Tree, tuple[str, ...]]:
        """cluster.env and mesh.yaml in our keys, and notes of the migration."""
        variables: dict[str, str] = {}
        # The environment comes last: the agent's own start script has it so.
        for name, read in (
            (bundle.MESH, migration.parse_mesh),
            (bundle.CLUSTER, migration.parse_environment),
        ):
            try:
                variables |= read(self.text(name), f"{self.where}/{name}")
            except ConfigError as error:
                self.problems.extend(error.problems)
        found = migration.migrate(variables, ground.user_id, ground.group_id)
        tree: Tree = {}
        for key, (value, _whence) in found.settings.items():
            _set(tree, key, value)
        return tree, tuple(found.notes)

    def tree(self, text: str, where: str) -> Tree:
        """A configuration as it was written, whose keys are checked where it is used."""
        try:
            found = yaml.load(text, Loader=yaml.CSafeLoader)
        except yaml.YAMLError as error:
            self.problems.append(Problem(where, "(document)", str(error), "YAML"))
            return {}
        if not isinstance(found, dict | None):
            self.problems.append(Problem(where, "(document)", repr(found)[:80], "a mapping"))
            return {}
        return found or {}

    def check_group(self, config: Config) -> Iterable[Problem]:
        """Whether the documents of the bundle are legal, and have the group that the VM names."""
        names: set[str] = set()
        for name, data in self.files.items():
            if bundle.is_document(name):
                try:
                    read = parse.parse(data, f"{self.where}/{name}")
                except ConfigError as error:
                    yield from error.problems
                else:
                    names |= {
                        f"{one.namespace}/{one.group.name}"
                        for found in read.pieces.values()
                        for one in found
                        if isinstance(one, Group)
                    }
        wanted = f"{config.node.namespace}/{config.workload.group}"
        if config.workload.group and config.mesh.source == "files" and wanted not in names:
            known = ", ".join(sorted(names)) or "none is in the bundle"
            where = f"{self.where}/{bundle.CLUSTER}"
            legal = f"a WorkloadGroup of the bundle's mesh/ folder: {known}"
            yield Problem(where, "ISTIO_META_AUTO_REGISTER_GROUP", wanted, legal)


def _set(tree: Tree, key: str, value: object) -> None:
    *groups, leaf = key.split(".")
    for group in groups:
        inner = tree.setdefault(group, {})
        assert isinstance(inner, dict)
        tree = inner
    tree[leaf] = value


# Of these, what the bundle says is the whole: labels of an earlier group are none of this one's.
_WHOLE = {"labels", "headers", "metadata", "probe", "startup", "forward_zones"}


def _lay(under: Mapping[str, object], over: Mapping[str, object]) -> Tree:
    """Settings over settings, group by group."""
    out = dict(under)
    for key, value in over.items():
        below = out.get(key)
        if isinstance(value, dict) and isinstance(below, dict) and key not in _WHOLE:
            out[key] = _lay(below, value)
        else:
            out[key] = value
    return out


def _place(tree: Tree, hosts: Mapping[str, tuple[str, ...]]) -> Tree:
    """The addresses that the bundle's `hosts` gives for the control plane, instead of a line in
    /etc/hosts; TLS goes on looking for the name."""
    out = tree
    for group in (("mesh", "istiod"), ("identity",)):
        addresses = _get(out, (*group, "addresses"))
        if not isinstance(addresses, list | tuple):
            continue
        names = [str(address).rpartition(":")[0].lower() for address in addresses]
        found: list[str] = []
        for name, address in zip(names, addresses, strict=True):
            port = str(address).rpartition(":")[2]
            found += [bundle.join(ip, port) for ip in hosts.get(name, ())] or [str(address)]
        known = [name for name in names if name in hosts]
        if known:
            inner: Tree = {"addresses": list(dict.fromkeys(found))}
            out = _lay(out, _nest(group, inner))
            if not _get(out, ("mesh", "istiod", "server_name")):
                out = _lay(out, {"mesh": {"istiod": {"server_name": known[0]}}})
    return out


def _get(tree: Mapping[str, object], keys: Iterable[str]) -> object:
    found: object = tree
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _nest(keys: Iterable[str], inner: Tree) -> Tree:
    for key in reversed(tuple(keys)):
        inner = {key: inner}
    return inner


def _render(tree: Tree, notes: Iterable[str], where: str) -> bytes:
    head = (
        f"# Written by `interceptor join` from {Path(where).name}, over what was here before;\n"
        "# `interceptor leave` puts that back. Not translated:\n"
    )
    told = "".join(f"#   {note}\n" for note in notes) or "#   nothing\n"
    body = yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, allow_unicode=True)
    return f"{head}{told}{body}".encode()


def _credentials(files: Files, config: Config) -> Iterable[Draft]:
    istiod = config.mesh.istiod
    if files.get(bundle.ROOT, b"").strip():
        yield Draft(istiod.root_cert, files[bundle.ROOT], 0o644)
    if files.get(bundle.TOKEN, b"").strip():
        yield Draft(istiod.token, files[bundle.TOKEN].strip() + b"\n", 0o600)


def _documents(files: Files, config: Config) -> Iterable[Draft]:
    """Into the first folder of mesh.files."""
    for name, data in files.items():
        if bundle.is_document(name):
            yield Draft(config.mesh.files[0] / name.partition("/")[2], data, 0o644)


def _hints(config: Config, hosts: Mapping[str, tuple[str, ...]]) -> Iterable[str]:
    for address in config.mesh.istiod.addresses if config.mesh.source == "istiod" else ():
        host = address.rpartition(":")[0]
        if not bundle.is_address(host.strip("[]")) and host.endswith(".svc"):
            yield (
                f"{host} has no address in the bundle's hosts ({len(hosts)} names there): this "
                "VM's DNS has to know it; `--ingressIP` gives it when the bundle is made"
            )
