"""Collects what a bug report needs, secrets taken out, into one file (`doctor --bundle`).

What one item cannot be had for is told in the manifest; the others are there all the same.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

import interceptor
from interceptor import assembly, checkup
from interceptor.capture.journal import NAME as JOURNAL
from interceptor.config import Config
from interceptor.debug import control, parcel
from interceptor.debug.parcel import Item
from interceptor.debug.redact import Redaction
from interceptor.errors import InterceptorError
from interceptor.host import bpflist, command
from interceptor.mesh import export
from interceptor.sidecar import launch
from interceptor.sidecar.admin import Admin

ADMIN_S = 10.0
LOG_LINES = 5000
COMMAND_S = 15.0
Tell = Callable[[str], None]
Source = Callable[[], object]
"""Gives a text, or a tree of dicts and lists, which becomes JSON."""

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "rules/nft.txt": ("nft", "list", "ruleset"),
    "rules/ipset.txt": ("ipset", "list"),
    "network/rule.txt": ("sh", "-c", "ip rule; ip -6 rule"),
    "network/route.txt": ("sh", "-c", "ip route show table all; ip -6 route show table all"),
    "network/address.txt": ("ip", "address"),
    "network/link.txt": ("ip", "-details", "-statistics", "link"),
    "network/tc.txt": ("tc", "-statistics", "qdisc", "show"),
    "network/socket.txt": ("ss", "-tulnp"),
    "network/sysctl.txt": ("sysctl", "-a", "--pattern", r"^net\.(ipv[46]|core|netfilter|mptcp)\."),
    "bpf/pin.txt": ("find", "/sys/fs/bpf"),
    "log/journal.txt": (
        *("journalctl", "--unit=interceptor", "--no-pager", "--output=short-iso"),
        f"--lines={LOG_LINES}",
    ),
}
FILES: Mapping[str, str] = {
    "host/os-release.txt": "/etc/os-release",
    "host/kernel.txt": "/proc/version",
    "host/resolv.conf": "/etc/resolv.conf",
    "host/nsswitch.conf": "/etc/nsswitch.conf",
    "host/resolved.conf": "/etc/systemd/resolved.conf",
    "host/meminfo.txt": "/proc/meminfo",
}
KEPT_BACK: Mapping[str, str] = {
    "mesh documents": "they may hold anything; --with-mesh adds the table made of them",
    "sidecar access log": "it tells who called whom",
    "DNS queries": "they tell what programs look for; `interceptor trace` shows them",
    "environment of other processes": "not ours",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """What a bundle is asked for. ``doctor`` is the doctor's JSON as a tree."""

    path: Path
    doctor: object
    with_mesh: bool = False


def send(config: Config, wish: Wish, tell: Tell = lambda _: None) -> tuple[Item, ...]:
    """Collect everything and write the file. Raises InterceptorError where that cannot be."""
    if wish.path.exists():
        raise InterceptorError(f"--bundle {wish.path}: it is there already; name another file")
    items = []
    for name, source in sources(config, wish).items():
        tell(f"bundle: {name}")
        items.append(_item(name, source))
    items += [Item(name, left_out=why) for name, why in KEPT_BACK.items()]
    head = [f"interceptor {interceptor.__version__}, Linux {platform.release()}"]
    parcel.write(wish.path, items, head)
    return tuple(items)


def _item(name: str, source: Source) -> Item:
    """One text, cleaned. Whatever goes wrong is told instead: a report is for what nobody
    thought of."""
    redaction = Redaction()
    try:
        found = source()
        if name.endswith(".yaml"):
            found = yaml.safe_dump(redaction.tree(found), sort_keys=False)
        elif not isinstance(found, str):
            found = json.dumps(redaction.tree(found), indent=1, default=str) + "\n"
        elif name.endswith(".json"):
            found = json.dumps(redaction.tree(json.loads(found)), indent=1) + "\n"
        text = parcel.cut(redaction.text(found))
    except Exception as error:
        reason = redaction.text(f"{type(error).__name__}: {error}".splitlines()[0])
        return Item(name, left_out=reason)
    return Item(name, text, redaction.count) if text.strip() else Item(name, left_out="empty")


def sources(config: Config, wish: Wish) -> dict[str, Source]:
    """Name → how it is had."""
    run_dir = config.agent.run_dir
    found: dict[str, Source] = {
        "version.json": _version,
        "doctor.json": lambda: wish.doctor,
        "config.yaml": lambda: config.model_dump(mode="json"),
        "environment.json": _environment,
        "plan.txt": lambda: assembly.render(assembly.prepare(config), as_json=False),
        "plan-diff.txt": lambda: assembly.compare(assembly.prepare(config), as_json=False)[0],
        "status.json": lambda: control.request(run_dir, "GET", "/status"),
        "metrics.txt": lambda: control.fetch(run_dir, "/metrics"),
        "mesh.json": lambda: _mesh(config, whole=wish.with_mesh),
        "journal.txt": _reader(str(run_dir / JOURNAL)),
        "bpf/link.txt": bpflist.render,
        "rules/neighbours.txt": lambda: "\n".join(checkup.neighbours(config)),
        "log/sidecar.txt": _reader(str(launch.files(run_dir).log)),
    }
    for page in ("config_dump", "clusters?format=json", "stats", "server_info", "certs"):
        name = page.partition("?")[0]
        suffix = "txt" if name == "stats" else "json"
        found[f"envoy/{name}.{suffix}"] = _asker(config, page)
    for program in checkup.save_programs():
        found[f"rules/{program}-save.txt"] = _runner((f"{program}-save",))
    found |= {name: _runner(argv) for name, argv in COMMANDS.items()}
    found |= {name: _reader(path) for name, path in FILES.items()}
    return found


def _runner(argv: Sequence[str]) -> Source:
    return lambda: command.run(argv, timeout_s=COMMAND_S).stdout


def _reader(path: str) -> Source:
    return lambda: Path(path).read_text(errors="replace")


def _asker(config: Config, page: str) -> Source:
    is_open = config.sidecar.admin == "loopback"
    place = config.sidecar.admin_port if is_open else launch.files(config.agent.run_dir).admin
    return lambda: Admin(place, ADMIN_S).read(f"/{page}")


def _version() -> object:
    return {
        "interceptor": interceptor.__version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "user": os.geteuid(),
    }


def _environment() -> object:
    """Our own variables, which override the configuration."""
    return {name: value for name, value in os.environ.items() if name.startswith("INTERCEPTOR_")}


def _mesh(config: Config, *, whole: bool) -> object:
    table = assembly.load_table(config)
    hosts = list(table.hosts.values())
    tree: dict[str, object] = {
        "hosts": len(hosts),
        "by_kind": Counter(host.kind.value for host in hosts),
        "by_namespace": Counter(host.namespace for host in hosts),
        "without_endpoints": sum(not host.endpoints for host in hosts),
        "endpoints": sum(len(host.endpoints) for host in hosts),
        "warnings": [str(each) for each in table.warnings],
    }
    return {**tree, "table": [export.plain(host) for host in hosts]} if whole else tree
