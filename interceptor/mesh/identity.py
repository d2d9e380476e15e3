"""The names that members of a mesh prove by certificate: SPIFFE IDs, as Istio writes them.

A certificate bears one URI: ``spiffe://<trust domain>/ns/<namespace>/sa/<service account>``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

TLS_MODE = "security.istio.io/tlsMode"  # the label that Istio's injection and registration set
MUTUAL = "istio"
NO_ACCOUNT = "default"  # the service account that Kubernetes gives a Pod that names none

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
_ID = re.compile(rf"spiffe://({_NAME})/ns/({_LABEL})/sa/({_NAME})")
LONGEST = 2048  # bytes of a SPIFFE ID (SPIFFE-ID, section 2.3)


class SpiffeId(NamedTuple):
    """Who a member is, as far as a certificate tells."""

    trust_domain: str
    namespace: str
    service_account: str

    @property
    def uri(self) -> str:
        return uri(self.trust_domain, path(self.namespace, self.service_account))

    @property
    def is_legal(self) -> bool:
        """Whether it can be read back from what it is written as."""
        return parse(self.uri) == self


@lru_cache(maxsize=4096)
def path(namespace: str, service_account: str) -> str:
    """``ns/<namespace>/sa/<service account>``; one text for all endpoints that are alike."""
    return f"ns/{namespace}/sa/{service_account or NO_ACCOUNT}"


def uri(trust_domain: str, path: str) -> str:
    """The SPIFFE ID of a path."""
    return f"spiffe://{trust_domain}/{path}"


def choose(labels: Mapping[str, str], namespace: str, service_account: str) -> str:
    """The path by which a workload with ``labels`` proves itself; empty where it does not."""
    return path(namespace, service_account) if labels.get(TLS_MODE) == MUTUAL else ""


def parse(text: str) -> SpiffeId | None:
    """The member that a SPIFFE ID names; None where it is not of Istio's form."""
    found = _ID.fullmatch(text) if len(text) <= LONGEST else None
    return SpiffeId(*found.groups()) if found else None
