"""Istio's settings of a VM as ours: cluster.env, sidecar.env, mesh.yaml.

Pure. Every ``ISTIO_*`` variable of istio-iptables and of ``istioctl x workload
entry configure`` is either translated or named in a note that says what becomes
of it, so that a migration never loses a setting silently.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import yaml

from interceptor.config import controlplane
from interceptor.errors import ConfigError, Problem


@dataclass(slots=True)
class Migration:
    """Dotted key of our configuration → (value, variable it came from), and notes."""

    settings: dict[str, tuple[object, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def parse_environment(text: str, where: str) -> dict[str, str]:
    """``KEY=value`` lines as a POSIX shell reads them (quotes, ``export``, comments)."""
    found: dict[str, str] = {}
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            problems.append(Problem(where, "(line)", line, f"KEY='value' ({error})", number))
            continue
        for word in words:
            key, equals, value = word.partition("=")
            if equals and key.isidentifier():
                found[key] = value
            elif word != "export":
                problems.append(Problem(where, "(line)", line, "KEY='value'", number))
    if problems:
        raise ConfigError(problems)
    return found


def parse_mesh(text: str, where: str) -> dict[str, str]:
    """mesh.yaml's ``defaultConfig`` as the variables that it stands for."""
    try:
        tree = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError([Problem(where, "(document)", str(error), "YAML")]) from error
    config = tree.get("defaultConfig", {}) if isinstance(tree, dict) else None
    if not isinstance(config, dict):
        legal = "a mapping with defaultConfig"
        raise ConfigError([Problem(where, "defaultConfig", repr(config), legal)])
    metadata = config.get("proxyMetadata") or {}
    if not isinstance(metadata, dict):
        key = "defaultConfig.proxyMetadata"
        raise ConfigError([Problem(where, key, repr(metadata), "a mapping")])
    found = {str(key): str(value) for key, value in metadata.items()}
    for key in ("discoveryAddress", "meshId", "concurrency", "interceptionMode", "serviceCluster"):
        if config.get(key) is not None:
            found[f"defaultConfig.{key}"] = str(config[key])
    if config.get("readinessProbe"):
        found["defaultConfig.readinessProbe"] = json.dumps(config["readinessProbe"])
    return found


def parse_file(text: str, where: str) -> dict[str, str]:
    """Either form, told apart by what it looks like (mesh.yaml has defaultConfig)."""
    if "defaultConfig:" in text:
        return parse_mesh(text, where)
    return parse_environment(text, where)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _is_number(text: str) -> bool:
    """In digits that `int` reads, and not so many of them that it refuses."""
    return text.isascii() and text.isdigit() and len(text) < 20


def _number(text: str) -> object:
    """A number where it is one; else the text, which validation then refuses by name."""
    return int(text) if _is_number(text.strip()) else text


def _numbers(text: str) -> object:
    return [_number(part) for part in _split(text)]


def _star(text: str) -> object:
    return "*" if text.strip() == "*" else _split(text)


def _ports(text: str) -> object:
    return "*" if text.strip() == "*" else _numbers(text)


def _true(text: str) -> bool:
    return text.strip().lower() in ("true", "1", "yes")


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _lower(text: str) -> object:
    return text.lower()


def _address_port(text: str) -> object:
    return _number(text.rpartition(":")[2])


# Variable → our key and how its text is read. Later entries win over earlier.
_DIRECT: tuple[tuple[str, str, Callable[[str], object]], ...] = (
    ("ISTIO_NAMESPACE", "node.namespace", str),
    ("POD_NAMESPACE", "node.namespace", str),
    ("SERVICE_ACCOUNT", "node.service_account", str),
    ("ISTIO_META_WORKLOAD_NAME", "node.name", str),
    ("POD_NAME", "node.name", str),
    ("ISTIO_META_NETWORK", "node.network", str),
    ("ISTIO_METAJSON_LABELS", "node.labels", _json),
    ("ISTIO_SVC_IP", "node.addresses", _star),
    ("ISTIO_SERVICE_CIDR", "capture.outbound.cidrs", _star),
    ("ISTIO_SERVICE_EXCLUDE_CIDR", "capture.outbound.exclude_cidrs", _split),
    ("ISTIO_OUTBOUND_PORTS", "capture.outbound.ports", _numbers),
    ("ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE", "capture.outbound.exclude_ports", _numbers),
    ("ISTIO_INBOUND_PORTS", "capture.inbound.ports", _ports),
    ("ISTIO_LOCAL_EXCLUDE_PORTS", "capture.inbound.exclude_ports", _numbers),
    ("defaultConfig.interceptionMode", "capture.inbound.mode", _lower),
    ("ISTIO_INBOUND_INTERCEPTION_MODE", "capture.inbound.mode", _lower),
    ("INBOUND_INTERCEPTION_MODE", "capture.inbound.mode", _lower),
    ("ISTIO_EXCLUDE_INTERFACES", "capture.interfaces.exclude", _split),
    ("KUBE_VIRT_INTERFACES", "capture.interfaces.bridges", _split),
    ("INBOUND_TPROXY_ROUTE_TABLE", "capture.route_table", _number),
    ("ISTIO_INBOUND_TPROXY_ROUTE_TABLE", "capture.route_table", _number),
    ("ENVOY_PORT", "sidecar.outbound_port", _number),
    ("INBOUND_CAPTURE_PORT", "sidecar.inbound_port", _number),
    ("defaultConfig.concurrency", "sidecar.concurrency", _number),
    ("REDIRECT_DNS", "dns.enabled", _true),
    ("ISTIO_META_DNS_CAPTURE", "dns.enabled", _true),
    ("DNS_PROXY_ADDR", "dns.tcp_port", _address_port),
    ("ISTIO_DUAL_STACK", "capture.ipv6", _true),
    ("DUAL_STACK", "capture.ipv6", _true),
)

_NOTED: dict[str, str] = {
    "INBOUND_TUNNEL_PORT": "15008 is never captured here, whatever this says",
    "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR": "all of 127.0.0.0/8 is treated as loopback",
    "ISTIO_INBOUND_TPROXY_MARK": "marks are derived from capture.mark",
    "INBOUND_TPROXY_MARK": "marks are derived from capture.mark",
    "DROP_INVALID": "left to the host's own firewall",
    "INVALID_DROP": "left to the host's own firewall",
    "DRY_RUN": "use `interceptor plan`",
    "DRY_RUN_FILE_PATH": "use `interceptor plan`",
    "SKIP_RULE_APPLY": "use capture.enabled and dns.enabled",
    "RUN_VALIDATION": "use `interceptor doctor`",
    "IPTABLES_PROBE_PORT": "use `interceptor doctor`",
    "PROBE_TIMEOUT": "use `interceptor doctor`",
    "RECONCILE": "apply is always idempotent and atomic",
    "FORCE_APPLY": "apply is always idempotent and atomic",
    "CLEANUP_ONLY": "use `interceptor clean`",
    "NETWORK_NAMESPACE": "the agent captures the network namespace that it runs in",
    "CNI_MODE": "a VM has no CNI",
    "DNS_FORWARD_PARALLEL": "names of others are never forwarded: they go on their way untouched",
    "DNS_FORWARD_TIMEOUT": "names of others are never forwarded: they go on their way untouched",
    "ISTIO_META_DNS_AUTO_ALLOCATE": "hosts without an address always get one (mesh.vip_ranges)",
    "ISTIO_SERVICE": "the mesh's documents say which services this VM offers",
    "CANONICAL_SERVICE": "the mesh's documents say which services this VM offers",
    "CANONICAL_REVISION": "the mesh's documents say which services this VM offers",
    "defaultConfig.serviceCluster": "the mesh's documents say which services this VM offers",
    "REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION": "the application is reached at its own address",
    "ISTIO_INBOUND_EXCLUDE_PORTS": "nothing ever read it; ISTIO_LOCAL_EXCLUDE_PORTS is meant",
}
_NOTED |= controlplane.NOTED


def migrate(
    variables: Mapping[str, str],
    user_id: Callable[[str], int | None] = lambda _name: None,
    group_id: Callable[[str], int | None] = lambda _name: None,
) -> Migration:
    """Our settings for Istio's ``variables``. ``user_id`` and ``group_id`` look up names."""
    found = Migration()
    done = set()
    for variable, key, read in _DIRECT:
        if variables.get(variable, "").strip():
            found.settings[key] = (read(variables[variable]), variable)
        done.add(variable)
    done |= _migrate_users(variables, found, user_id, group_id)
    done |= _migrate_choices(variables, found)
    done |= _migrate_control_plane(variables, found, done | set(_NOTED))
    for variable in sorted(set(variables) - done):
        if variable in _NOTED:
            found.notes.append(f"{variable}: {_NOTED[variable]}")
        elif variable.startswith(("ISTIO_", "PROXY_", "PILOT_", "XDS_", "CA_")):
            found.notes.append(f"{variable}: not translated; nothing here corresponds to it")
    return found


def _migrate_control_plane(
    variables: Mapping[str, str], found: Migration, named: set[str]
) -> set[str]:
    settings, done = controlplane.translate(variables, named)
    found.settings |= settings
    is_shared = "WORKLOAD_NAME" in str(settings.get("node.metadata"))
    if is_shared and found.settings["node.name"][1] == controlplane.WORKLOAD_NAME:
        del found.settings["node.name"]
    return done


def _ids(names: Iterable[str], look_up: Callable[[str], int | None]) -> list[object]:
    """Numbers as they are, names looked up; an unknown name stays, and is refused later."""
    ids: list[object] = []
    for name in names:
        known = look_up(name)
        ids.append(int(name) if _is_number(name) else name if known is None else known)
    return ids


def _migrate_users(
    variables: Mapping[str, str],
    found: Migration,
    user_id: Callable[[str], int | None],
    group_id: Callable[[str], int | None],
) -> set[str]:
    """Istio exempts lists of users and groups; the first is the sidecar's."""
    source = "PROXY_UID" if variables.get("PROXY_UID") else "ENVOY_USER"
    for variable, look_up, kind in (
        (source, user_id, "uid"),
        ("PROXY_GID", group_id, "gid"),
    ):
        ids = _ids(_split(variables.get(variable, "")), look_up)
        if ids:
            found.settings[f"sidecar.{kind}"] = (ids[0], variable)
        if ids[1:]:
            found.settings[f"capture.owners.exclude_{kind}s"] = (ids[1:], variable)
    include = variables.get("ISTIO_OUTBOUND_OWNER_GROUPS", "*").strip()
    if include and include != "*":
        ids = _ids(_split(include), group_id)
        found.settings["capture.owners.include_gids"] = (ids, "ISTIO_OUTBOUND_OWNER_GROUPS")
    exclude = _ids(_split(variables.get("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "")), group_id)
    if exclude:
        key = "capture.owners.exclude_gids"
        before = found.settings.get(key, ([], ""))[0]
        both = [*before, *exclude] if isinstance(before, list) else exclude
        found.settings[key] = (both, "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE")
    return {
        "PROXY_UID",
        "PROXY_GID",
        "ENVOY_USER",
        "ISTIO_OUTBOUND_OWNER_GROUPS",
        "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE",
    }


def _migrate_choices(variables: Mapping[str, str], found: Migration) -> set[str]:
    """Settings in which Istio's default differs from ours, or two variables meet."""
    captures = {"REDIRECT_DNS", "ISTIO_META_DNS_CAPTURE", "CAPTURE_ALL_DNS"}
    if captures & set(variables):
        whole = _true(variables.get("CAPTURE_ALL_DNS", ""))
        found.settings["dns.servers"] = ("all" if whole else "resolv.conf", "CAPTURE_ALL_DNS")
    if _true(variables.get("NATIVE_NFTABLES", "")):
        found.settings["capture.backend"] = ("nftables", "NATIVE_NFTABLES")
    elif variables.get("FORCE_IPTABLES_BINARY", "").strip():
        found.settings["capture.backend"] = ("iptables", "FORCE_IPTABLES_BINARY")
    if _true(variables.get("ISTIO_CUSTOM_IP_TABLES", "")):
        found.settings["capture.enabled"] = (False, "ISTIO_CUSTOM_IP_TABLES")
    return {
        "CAPTURE_ALL_DNS",
        "NATIVE_NFTABLES",
        "FORCE_IPTABLES_BINARY",
        "ISTIO_CUSTOM_IP_TABLES",
    }
