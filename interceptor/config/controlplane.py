"""Istio's settings of control plane, identity and registration as ours. PURE.

The variables are those of Istio's agent (pilot-agent's environment), of cluster.env, and of
mesh.yaml's ``defaultConfig``; `interceptor.migration` has those of the capture.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from interceptor.config import readiness

Settings = dict[str, tuple[object, str]]
"""Dotted key of ours → value, and the variable that it is from."""

SOCKETS = "/var/run/secrets/workload-spiffe-uds"
_META, _XDS_HEADER, _CA_HEADER = "ISTIO_META_", "XDS_HEADER_", "CA_HEADER_"
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
DISCOVERY, GROUP = "defaultConfig.discoveryAddress", "ISTIO_META_AUTO_REGISTER_GROUP"
WORKLOAD_NAME = "ISTIO_META_WORKLOAD_NAME"


def _list(text: str) -> object:
    return [text.strip()]


def _path(text: str) -> object:
    """Istio's agent starts in the root folder, and names its files from there."""
    return str(PurePosixPath("/") / text.strip())


def _socket(text: str) -> object:
    return f"{SOCKETS}/{text.strip()}"


def _seconds(text: str) -> object:
    """Go's form of a duration, such as 24h0m0s; any other text is refused later, by name."""
    parts = _DURATION.findall(text)
    if "".join(number + unit for number, unit in parts) != text.strip():
        return text
    return round(sum(float(number) * _UNITS_S[unit] for number, unit in parts))


def _renew_at(text: str) -> object:
    """Istio counts the part of its life that is left."""
    try:
        return round(1 - float(text), 6)
    except ValueError:
        return text


def _protocol(text: str) -> object:
    return "sotw" if text.strip().lower() in ("false", "0", "no") else "delta"


def _key(text: str) -> object:
    return "ecdsa-p256" if text.strip().upper() == "ECDSA" else text


def _rsa(text: str) -> object:
    return f"rsa-{text.strip()}"


def _probe(text: str) -> object:
    try:
        tree = json.loads(text)
    except ValueError:
        return text
    return readiness.translate(tree) if isinstance(tree, Mapping) else text


_DIRECT: tuple[tuple[str, str, Callable[[str], object]], ...] = (
    (DISCOVERY, "mesh.istiod.addresses", _list),
    ("ISTIOD_SAN", "mesh.istiod.server_name", str),
    ("XDS_ROOT_CA", "mesh.istiod.root_cert", _path),
    ("ISTIO_DELTA_XDS", "mesh.istiod.protocol", _protocol),
    ("CA_ADDR", "identity.addresses", _list),
    ("TRUST_DOMAIN", "identity.trust_domain", str),
    ("OUTPUT_CERTS", "identity.output_dir", _path),
    ("SECRET_TTL", "identity.ttl_s", _seconds),
    ("SECRET_GRACE_PERIOD_RATIO", "identity.renew_at", _renew_at),
    ("WORKLOAD_RSA_KEY_SIZE", "identity.key", _rsa),
    ("ECC_SIGNATURE_ALGORITHM", "identity.key", _key),
    ("WORKLOAD_IDENTITY_SOCKET_FILE", "identity.socket", _socket),
    ("ISTIO_META_CLUSTER_ID", "node.cluster", str),
    ("defaultConfig.meshId", "node.mesh_id", str),
    ("ISTIO_META_MESH_ID", "node.mesh_id", str),
    (GROUP, "workload.group", str),
    ("defaultConfig.readinessProbe", "workload.probe", _probe),
)

NOTED = {
    "PROV_CERT": "the certificate is kept in identity.dir, and proves this VM after a restart",
    "CA_ROOT_CA": "mesh.istiod.root_cert is for both, control plane and authority",
}


def translate(variables: Mapping[str, str], named: set[str]) -> tuple[Settings, set[str]]:
    """The settings, and the variables that they are from. ``named`` are those that somebody else
    translates or tells of: of ISTIO_META_* the rest is node metadata."""
    found: Settings = {}
    done: set[str] = set()
    for variable, key, read in _DIRECT:
        done.add(variable)
        if variables.get(variable, "").strip():
            found[key] = (read(variables[variable]), variable)
    if DISCOVERY in found_from(found):
        found["mesh.source"] = ("istiod", DISCOVERY)
    if found.get("identity.addresses", (None,))[0] == found.get("mesh.istiod.addresses", (0,))[0]:
        del found["identity.addresses"]
    metadata = {
        variable.removeprefix(_META): value
        for variable, value in variables.items()
        if variable.startswith(_META) and variable not in done | named
    }
    if found_from(found) & {DISCOVERY, GROUP} and variables.get(WORKLOAD_NAME):
        # A name that all members of the group have: it tells the workload, and not the VM.
        metadata[WORKLOAD_NAME.removeprefix(_META)] = variables[WORKLOAD_NAME]
    if metadata:
        found["node.metadata"] = (metadata, _META + next(iter(metadata)))
    headers = {
        variable.removeprefix(prefix): value
        for prefix in (_CA_HEADER, _XDS_HEADER)
        for variable, value in variables.items()
        if variable.startswith(prefix)
    }
    if headers:
        found["mesh.istiod.headers"] = (headers, _XDS_HEADER + next(iter(headers)))
    heads = (_META, _CA_HEADER, _XDS_HEADER)
    return found, done | {name for name in variables if name.startswith(heads)} - named


def found_from(settings: Settings) -> set[str]:
    """The variables that settings are from."""
    return {variable for _, variable in settings.values()}
