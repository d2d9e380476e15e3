"""What keys of the configuration are made of: addresses, names, ports; and the group of keys."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

PortNumber = Annotated[int, Field(ge=1, le=65535)]
UserId = Annotated[int, Field(ge=0, le=0xFFFFFFFE)]
Network = IPv4Network | IPv6Network
Backend = Literal["auto", "ebpf", "nftables", "iptables"]


def _server_address(value: object) -> object:
    """An IP address as text; a zone (``fe80::53%eth0``) is kept out of rules."""
    if isinstance(value, str):
        return ip_address(value.partition("%")[0])
    return value


def _host_port(value: str) -> str:
    """HOST:PORT, an IPv6 address in brackets."""
    host, _, port = value.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("a host and a port, such as istiod.istio-system.svc:15012")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("an IPv6 address in brackets, such as [2001:db8::1]:15012")
    return value


def _name(value: object) -> object:
    """A DNS name as the mesh writes it: lower case, no final dot."""
    return value.strip(".").lower() if isinstance(value, str) else value


def _loopback_listener(value: str) -> str:
    """ADDRESS:PORT on loopback, an IPv6 address in brackets. Metrics are nobody else's."""
    host, _, port = value.rpartition(":")
    try:
        is_loopback = ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("a loopback address and a port, such as 127.0.0.1:15020 or [::1]:15020")
    return value


DnsName = Annotated[
    str, BeforeValidator(_name), Field(pattern=r"^([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}$")
]
Label = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
HostPort = Annotated[str, AfterValidator(_host_port)]
Listener = Annotated[str, AfterValidator(_loopback_listener)]
# Both end up in rules, whose language has quotes and spaces of its own.
InterfaceName = Annotated[str, Field(pattern=r"^[^\s/\"'\\]{1,15}$")]
CgroupPath = Annotated[str, Field(pattern=r"^[^\s\"'\\]+$")]
ServerAddress = Annotated[IPv4Address | IPv6Address, BeforeValidator(_server_address)]


class Group(BaseModel):
    """Keys that belong together; a docstring behind each is its comment in `config show`, which
    reads them: pydantic's own ``use_attribute_docstrings`` would, at each start of anything."""

    model_config = ConfigDict(frozen=True, extra="forbid")
