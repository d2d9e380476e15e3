"""Whom the services of this VM take: with a member's certificate only, without one too, or not
by certificate at all (PeerAuthentication, security.istio.io)."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from interceptor.mesh.model import Labels

ROOT_NAMESPACE = "istio-system"  # MeshConfig.rootNamespace as it is by default


class Mode(enum.Enum):
    """PeerAuthentication.mtls.mode, without UNSET."""

    STRICT = "STRICT"
    PERMISSIVE = "PERMISSIVE"
    DISABLE = "DISABLE"


@dataclass(frozen=True, slots=True)
class Policy:
    """``ports`` holds (port of an application, mode) where it is not ``mode``; sorted."""

    mode: Mode = Mode.DISABLE
    ports: tuple[tuple[int, Mode], ...] = ()

    def of(self, port: int) -> Mode:
        return dict(self.ports).get(port, self.mode)


PLAIN = Policy()


@dataclass(frozen=True, slots=True)
class PeerAuthentication:
    """``mode`` is None where it is UNSET, and so are those of ``ports``: (port, mode)."""

    name: str
    namespace: str
    origin: str
    selector: Labels = ()
    mode: Mode | None = None
    ports: tuple[tuple[int, Mode | None], ...] = ()


def decide(
    found: Iterable[PeerAuthentication], namespace: str, labels: Labels, default: Mode
) -> Policy:
    """What counts for a workload of ``namespace`` with ``labels``.

    The document that picks it, else its namespace's without a selector, else the
    root namespace's, else ``default``; what one leaves unset the next one says.
    Of several alike the first by name counts.
    """
    ranked = sorted(found, key=lambda each: (each.name, each.origin))
    own = [each for each in ranked if each.namespace == namespace]
    picked = [each for each in own if each.selector and set(each.selector) <= set(labels)]
    wide = [each for each in own if not each.selector]
    root = [each for each in ranked if each.namespace == ROOT_NAMESPACE and not each.selector]
    chain = [part[0] for part in (picked, wide, root) if part]
    mode = next((each.mode for each in chain if each.mode is not None), default)
    ports = picked[0].ports if picked else ()
    said = {port: own_mode or mode for port, own_mode in ports}
    return Policy(mode, tuple((port, said[port]) for port in sorted(said) if said[port] != mode))
