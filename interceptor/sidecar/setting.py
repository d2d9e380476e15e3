"""What the sidecar's configuration depends on besides the mesh table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from interceptor.config import Config
from interceptor.mesh.model import Address, Labels
from interceptor.mesh.policy import PLAIN, Mode, Policy

ACCESS_LOG = "sidecar-access.log"
TPROXY_MARK_OFFSET = 2  # capture.mark + 2 marks TPROXY's packets


@dataclass(frozen=True, slots=True)
class Settings:
    """The part of the configuration and of the host that shapes Envoy's resources.

    ``outbound_addresses``: where 15001 listens. ``bridge_addresses``: the VM's
    own addresses on container bridges, each with a listener of its own, so that
    a bridge that comes or goes leaves the others alone. ``own_addresses``: by
    which others call this VM; an endpoint there is this VM's own service.
    ``access_log`` is a path, empty for none. ``resolvers``: the DNS servers that
    Envoy asks for endpoints that are names, empty for those of resolv.conf.
    ``keep_client`` (with ``transparent`` only): the application sees the client's
    own address instead of 127.0.0.6. That needs rules which bring its replies
    back to Envoy: packets on lo with ``transparent_mark`` give it to their
    connection, and the connection gives it to what the application sends. They
    are there where TPROXY has ports to capture. ``trust_domain`` is empty where
    this VM has no identity: then nobody speaks TLS, and ``policy`` is not asked.
    ``policy`` is what PeerAuthentication documents make of ``mode`` for ``labels``.
    """

    namespace: str = "default"
    domain: str = "cluster.local"
    outbound_addresses: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
    bridge_addresses: tuple[Address, ...] = ()
    own_addresses: tuple[Address, ...] = ()
    outbound_port: int = 15001
    inbound_port: int = 15006
    ipv6: bool = True
    passthrough: bool = True
    transparent: bool = False
    keep_client: bool = False
    transparent_mark: int = 0x1DC2
    access_log: str = ""
    connect_timeout_ms: int = 2000
    resolvers: tuple[Address, ...] = ()
    trust_domain: str = ""
    labels: Labels = ()
    mode: Mode = Mode.DISABLE
    policy: Policy = PLAIN


def access_log_path(config: Config) -> str:
    """The file of the access log, empty where it is switched off."""
    if config.sidecar.access_log == "off":
        return ""
    return config.sidecar.access_log or str(config.agent.run_dir / ACCESS_LOG)


def choose(
    config: Config,
    own_addresses: Iterable[Address] = (),
    *,
    ipv6: bool = True,
    bridge_addresses: Iterable[Address] = (),
    resolvers: Iterable[Address] = (),
    has_identity: bool = False,
) -> Settings:
    """The settings that ``config`` and the host's facts make.

    ``own_addresses`` counts where node.addresses is empty; ``ipv6`` where
    capture.ipv6 is null. ``has_identity``: whether this VM gets a certificate.
    """
    transparent = config.capture.inbound.mode == "tproxy"
    ipv6 = ipv6 if config.capture.ipv6 is None else config.capture.ipv6
    mode = Mode(config.sidecar.mtls.upper()) if has_identity else Mode.DISABLE
    loopback: tuple[Address, ...] = (IPv4Address("127.0.0.1"),)
    return Settings(
        namespace=config.node.namespace,
        domain=config.node.domain,
        outbound_addresses=(*loopback, IPv6Address("::1")) if ipv6 else loopback,
        bridge_addresses=tuple(sorted(bridge_addresses, key=lambda item: (item.version, item))),
        own_addresses=config.node.addresses or tuple(own_addresses),
        outbound_port=config.sidecar.outbound_port,
        inbound_port=config.sidecar.inbound_port,
        ipv6=ipv6,
        passthrough=config.sidecar.unknown_destinations == "passthrough",
        transparent=transparent,
        keep_client=transparent and bool(config.capture.inbound.ports),
        transparent_mark=config.capture.mark + TPROXY_MARK_OFFSET,
        access_log=access_log_path(config),
        connect_timeout_ms=config.sidecar.connect_timeout_ms,
        resolvers=tuple(resolvers),
        trust_domain=config.identity.trust_domain if has_identity else "",
        labels=tuple(sorted(config.node.labels.items())),
        mode=mode,
        policy=Policy(mode),
    )
