"""The vocabulary of a diagnosis: what is wrong, where in the chain, and what to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Step(enum.Enum):
    """The links between a program and whom it calls, in their order."""

    TABLE = "table"
    NAME = "name"
    RESOLVER = "resolver"
    ADDRESS = "address"
    SCOPE = "scope"
    RULE = "rule"
    LISTENER = "listener"
    CLUSTER = "cluster"
    ENDPOINTS = "endpoints"
    PROBE = "probe"


class Cause(enum.Enum):
    """Why a call does not go where it should. The values are what ``--json`` prints."""

    REFUSED_TABLE = "refused-table"
    STALE_TABLE = "stale-table"
    DAEMON_SILENT = "daemon-silent"
    WRONG_NAMESPACE = "wrong-namespace"
    NAME_TYPO = "name-typo"
    NOT_EXPORTED = "not-exported"
    WILDCARD_SHADOWING = "wildcard-shadowing"
    ENCRYPTED_DNS = "dot-resolver"
    HOSTS_FILE = "hosts-file"
    DNS_NOT_CAPTURED = "dns-not-captured"
    VIP_CLASH = "vip-clash"
    EXCLUDED_INTERFACE = "excluded-interface"
    EXCLUDED_PORT = "excluded-port"
    EXCLUDED_OWNER = "excluded-uid"
    EXCLUDED_ADDRESS = "excluded-address"
    PORT_NOT_SERVED = "port-not-served"
    NOT_INSTALLED = "not-installed"
    FIREWALL = "firewall-before-us"
    BOUND_DEVICE = "bound-device"
    SIDECAR_DOWN = "envoy-down"
    SIDECAR_HUNG = "envoy-hung"
    NO_LISTENER = "no-listener"
    NO_ENDPOINT = "no-endpoint"
    ENDPOINTS_DOWN = "all-endpoints-down"
    IPV6_ONLY = "ipv6-only-endpoint"
    WRONG_PORT_NAME = "wrong-port-name"
    NOT_ANSWERED = "not-answered"


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause that breaks the chain at ``step``.

    ``why`` is the cause as a sentence, ``evidence`` what it was seen by, ``cure`` what mends
    it, ``next`` the command to run now.
    """

    cause: Cause
    step: Step
    why: str
    evidence: tuple[str, ...] = ()
    cure: str = ""
    next: str = ""

    def json(self) -> dict[str, object]:
        """As ``--json`` prints it."""
        return {
            "cause": self.cause.value,
            "step": self.step.value,
            "why": self.why,
            "evidence": list(self.evidence),
            "cure": self.cure,
            "next": self.next,
        }


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain as it is told. ``ok`` is None where nobody could look.

    ``detail`` are further lines of what was seen; ``cause``, ``next`` are a finding's.
    """

    step: Step
    ok: bool | None
    said: str
    detail: tuple[str, ...] = ()
    cause: str = ""
    next: str = ""

    def json(self) -> dict[str, object]:
        """As ``--json`` prints it."""
        return {
            "step": self.step.value,
            "ok": self.ok,
            "said": self.said,
            "detail": list(self.detail),
            "cause": self.cause,
            "next": self.next,
        }
