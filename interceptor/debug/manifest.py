"""A draft as the files that a mesh and we read: YAML, each document with what it is based on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address

import yaml

from interceptor.debug.draft import Draft, Port, Service, Wish
from interceptor.debug.observed import Observation

_API = "networking.istio.io/v1"
_LONGEST_NAME = 63  # of labels' values; objects may have longer names
_MOST = 6  # of a kind that a comment names

Tree = Mapping[str, object]


def app_name(found: Observation, wish: Wish) -> str:
    """What the workload is called: as the user said, else by the VM's host name."""
    text = (wish.app or found.host.partition(".")[0] or "vm").lower()
    label = "".join(c if c.isascii() and (c.isalnum() or c == "-") else "-" for c in text)
    return label[:_LONGEST_NAME].strip("-") or "vm"


def served_host(found: Observation, wish: Wish) -> str:
    """The name by which the mesh is to call what this VM serves."""
    return f"{app_name(found, wish)}.{wish.namespace}.svc.{wish.domain}"


def entries(draft: Draft, found: Observation, wish: Wish) -> str:
    """serviceentries.yaml."""
    head = [
        f"Hosts that {found.host or 'this VM'} called by name, the most called first.",
        "Written by `interceptor observe`; read it, and `interceptor mesh check` it.",
    ]
    taken = {_served_name(app_name(found, wish))}
    parts = [_comment(head)]
    for service in draft.services:
        parts.append(_document(_basis(service), _entry(service, wish, taken)))
    for suffix, hosts in draft.wildcards:
        parts.append(_wildcard(suffix, hosts, draft.services, wish))
    if not draft.services:
        parts.append(_comment(["No host was called by name."]))
    return "\n".join(parts)


def workload(draft: Draft, found: Observation, wish: Wish) -> str:
    """workloadgroup.yaml: this VM as a member of the mesh, and what it serves."""
    app = app_name(found, wish)
    labels = {"app": app}
    ports = {served.port.name: served.port.number for served in draft.served}
    about = [
        f"{served.port.number}: {served.owner or 'somebody'}, called by "
        + (_some(f"{peer} ({count})" for peer, count in served.peers) or "nobody meanwhile")
        for served in draft.served
    ]
    template: dict[str, object] = {"labels": labels, "serviceAccount": "default"}
    if ports:
        template["ports"] = ports
    group = _tree(
        "WorkloadGroup", app, wish, {"metadata": {"labels": labels}, "template": template}
    )
    parts = [_comment(["This VM, and what it serves."]), _document(about, group)]
    address = _primary(found)
    if ports and address:
        name = f"{app}-{address.replace('.', '-').replace(':', '-')}".rstrip("-")
        member = _tree("WorkloadEntry", name, wish, {"address": address, **template})
        about = ["This very machine; not needed where it registers itself."]
        parts.append(_document(about, member))
        parts.append(_served(draft, found, wish))
    return "\n".join(parts)


def _served(draft: Draft, found: Observation, wish: Wish) -> str:
    """The service that this VM is an endpoint of, unless the mesh has one of that name."""
    host, app = served_host(found, wish), app_name(found, wish)
    if host in wish.known:
        return _comment([f"{host} is the mesh's already: {wish.known[host]}"])
    spec: dict[str, object] = {
        "hosts": [host],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "ports": [_port(served.port) for served in draft.served],
        "workloadSelector": {"labels": {"app": app}},
    }
    why = "By this name the mesh calls it; a Service of Kubernetes with this selector will do."
    return _document([why], _tree("ServiceEntry", _served_name(app), wish, spec))


def _served_name(app: str) -> str:
    return f"{app[: _LONGEST_NAME - 7].rstrip('-')}-served"


def settings(draft: Draft, found: Observation, wish: Wish, files: Sequence[str]) -> str:
    """config.yaml, for ``files``: where the documents stand."""
    outbound: dict[str, object] = {}
    if draft.include:
        outbound["cidrs"] = [str(network) for network in draft.include]
    if draft.exclude:
        outbound["exclude_cidrs"] = [str(network) for network in draft.exclude]
    capture: dict[str, object] = {}
    if outbound:
        capture["outbound"] = outbound
    if draft.served:
        capture["inbound"] = {"ports": [served.port.number for served in draft.served]}
    tree: dict[str, object] = {
        "node": {
            "name": found.host.partition(".")[0] or "vm",
            "namespace": wish.namespace,
            "domain": wish.domain,
            "addresses": list(found.addresses),
            "labels": {"app": app_name(found, wish)},
        },
        "mesh": {"files": list(files)},
    }
    if capture:
        tree["capture"] = capture
    about = ["interceptor's configuration; for all keys: `interceptor config show`."]
    if draft.include:
        about.append("capture.outbound.cidrs: called by their addresses, without a name.")
    if draft.exclude:
        about.append("capture.outbound.exclude_cidrs: link-local services, resolvers asked by TLS.")
    if draft.served:
        about.append("capture.inbound.ports: what listens here, whoever called meanwhile.")
    return _comment(about) + yaml.safe_dump(tree, sort_keys=False)


def _entry(service: Service, wish: Wish, taken: set[str]) -> Tree:
    spec: dict[str, object] = {
        "hosts": [service.host],
        "exportTo": ["."],
        "location": "MESH_EXTERNAL",
        "ports": [_port(port) for port in service.ports],
    }
    if service.static:
        # Nobody asks DNS for it: the address itself has to be captured.
        spec["addresses"] = list(service.addresses)
        spec["resolution"] = "STATIC"
        spec["endpoints"] = [{"address": address} for address in service.addresses]
    else:
        spec["resolution"] = "DNS"
    name = service.host
    while name in taken:
        name += "-2"
    taken.add(name)
    return _tree("ServiceEntry", name, wish, spec)


def _basis(service: Service) -> list[str]:
    """What is known of a service."""
    times = f"called {service.count} times" if service.count != 1 else "called once"
    if service.before:
        times += f", {service.before} connections open before"
    who = _some(f"{owner} ({count})" for owner, count in service.owners)
    lines = [times + (f", by {who}" if who else "")]
    lines.append(f"seen at {_some(service.addresses)}" + (" (/etc/hosts)" * service.static))
    unsure = [str(port.number) for port in service.ports if not port.sure]
    if unsure:
        lines.append(f"what is spoken on port {', '.join(unsure)} was not seen: check the protocol")
    if service.count and not service.answered:
        lines.append("it never answered: is it still in use?")
    return lines


def _wildcard(suffix: str, hosts: Sequence[str], services: Sequence[Service], wish: Wish) -> str:
    """As a comment: a wildcard has no address, which changes how its calls are captured."""
    ports: dict[int, Port] = {}
    for service in services:
        if service.host in hosts:
            # A connection without a name in it is nobody's, below a wildcard.
            ports |= {port.number: port for port in service.ports if port.protocol != "TCP"}
    if not ports:
        return ""
    spec = {
        "hosts": [suffix],
        "exportTo": ["."],
        "location": "MESH_EXTERNAL",
        "ports": [_port(ports[number]) for number in sorted(ports)],
        "resolution": "NONE",
    }
    name = suffix.replace("*", "any", 1)
    why = f"Instead of {len(hosts)} entries ({_some(hosts)}), for HTTP and TLS alone:"
    text = yaml.safe_dump(_tree("ServiceEntry", name, wish, spec), sort_keys=False)
    note = "its calls are captured where their addresses are (capture.outbound.cidrs)."
    return _comment([why, note, "---", *text.splitlines()])


def _port(port: Port) -> dict[str, object]:
    return {"number": port.number, "name": port.name, "protocol": port.protocol}


def _tree(kind: str, name: str, wish: Wish, spec: Tree) -> Tree:
    metadata = {"name": name, "namespace": wish.namespace}
    return {"apiVersion": _API, "kind": kind, "metadata": metadata, "spec": spec}


def _document(about: Iterable[str], tree: Tree) -> str:
    text = yaml.dump(tree, Dumper=_Dumper, sort_keys=False)
    return "---\n" + _comment(about) + text


class _Dumper(yaml.SafeDumper):
    """Without anchors: labels that stand in two places are written twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _comment(lines: Iterable[str]) -> str:
    """A process may call itself what it likes: no line ends within one."""
    plain = ("".join(c if c.isprintable() else "?" for c in line) for line in lines)
    return "".join(f"# {line}".rstrip() + "\n" for line in plain)


def _some(texts: Iterable[str]) -> str:
    """The first few, and how many more."""
    found = list(texts)
    more = f", and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return ", ".join(found[:_MOST]) + more


def _primary(found: Observation) -> str:
    """The address that others call: IPv4's where there is one."""
    usual = sorted(found.addresses, key=lambda text: ip_address(text).version)
    return usual[0] if usual else ""
