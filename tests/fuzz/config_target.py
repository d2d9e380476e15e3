"""Settings: our own YAML, and Istio's environment and mesh files."""

from __future__ import annotations

from collections.abc import Iterable

from interceptor import config, migration
from interceptor.config.text import show
from interceptor.errors import ConfigError
from tests.fuzz.target import Target

CLUSTER_ENV = b"""\
CA_ADDR='istiod.istio-system.svc:15012'
ISTIO_INBOUND_PORTS='*'
ISTIO_LOCAL_EXCLUDE_PORTS='22,15090'
ISTIO_NAMESPACE='vm'
ISTIO_SERVICE_CIDR='10.0.0.0/8,fd00::/8'
export SERVICE_ACCOUNT="mysql sa"
PROXY_UID=1337,1338
ISTIO_OUTBOUND_OWNER_GROUPS=staff
ISTIO_META_DNS_CAPTURE='true'
ISTIO_METAJSON_LABELS='{"app": "x"}'
"""
MESH_YAML = b"""\
defaultConfig:
  discoveryAddress: istiod.istio-system.svc:15012
  concurrency: 4
  proxyMetadata: {ISTIO_META_NETWORK: vm-net, ISTIO_METAJSON_LABELS: '{"app":"mysql"}'}
  readinessProbe: {httpGet: {port: 80}}
"""


def run_config(data: bytes) -> None:
    try:
        found = config.parse(data.decode(errors="replace"), "/etc/interceptor.yaml")
    except ConfigError as error:
        assert error.problems
        str(error)
        return
    assert config.parse(show(found)) == found, "what is shown means something else"


def configs() -> Iterable[bytes]:
    yield show(config.Config()).encode()
    yield b"capture: {backend: ebpf, inbound: {ports: [80, 443]}, owners: {include_uids: [1]}}\n"
    yield b"dns:\n  servers: [10.0.0.1, 'fe80::1%eth0']\n  own_zones: [a.test]\n"
    yield b"sidecar: {mode: none}\nagent: {listen: '[::1]:15020', run_dir: /run/x, drain_s: 1.5}\n"
    yield b"node: {labels: {app: x}, addresses: [10.0.0.1]}\nmesh: {vip_ranges: {ipv4: 10.0.0.0/8}}"


def run_istio(data: bytes) -> None:
    text = data.decode(errors="replace")
    try:
        variables = migration.parse_file(text, "cluster.env")
        found = migration.migrate(variables)
        config.parse("", base=found.settings)
    except ConfigError as error:
        assert error.problems
        str(error)


def istios() -> Iterable[bytes]:
    yield from (CLUSTER_ENV, MESH_YAML)
    yield from CLUSTER_ENV.splitlines()


TARGETS = {
    "config": Target(run_config, configs, ("interceptor.config",)),
    "istio": Target(run_istio, istios, ("interceptor.migration", "interceptor.config")),
}
