"""Istio's ReadinessProbe (a WorkloadGroup's spec.probe, mesh.yaml's readinessProbe) as ours.

PURE.
"""

from __future__ import annotations

from collections.abc import Mapping

_TIMES = {
    "initialDelaySeconds": "initial_delay_s",
    "timeoutSeconds": "timeout_s",
    "periodSeconds": "period_s",
    "successThreshold": "success_threshold",
    "failureThreshold": "failure_threshold",
}
_KINDS = {
    "httpGet": ("http", ("path", "port", "host", "scheme")),
    "tcpSocket": ("tcp", ("port", "host")),
    "exec": ("exec", ("command",)),
    "grpc": ("grpc", ("port", "service")),
}


def translate(tree: Mapping[str, object]) -> dict[str, object]:
    """The keys of `config.Probe` for those of Istio's form. Values stay as they are: whoever
    validates the result names what is wrong. What is 0 or empty is left out, as in protobuf,
    where that means the default."""
    found: dict[str, object] = {
        ours: tree[theirs] for theirs, ours in _TIMES.items() if tree.get(theirs)
    }
    for theirs, (ours, keys) in _KINDS.items():
        inner = tree.get(theirs)
        if isinstance(inner, Mapping):
            chosen = {key: inner[key] for key in keys if inner.get(key)}
            if inner.get("httpHeaders"):
                chosen["headers"] = _headers(inner["httpHeaders"])
            found[ours] = chosen
        elif inner is not None:
            found[ours] = inner
    return found


def _headers(found: object) -> object:
    """A list of {name, value} as a mapping; anything else as it is."""
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        return found
    return {str(one.get("name", "")): str(one.get("value", "")) for one in found}
