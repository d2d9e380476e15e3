"""Bundles of the tests: whole ones, and those that something is wrong with."""

from __future__ import annotations

from dataclasses import replace

from interceptor.mesh.identity import SpiffeId
from interceptor.workload import bundle, certificate, signing, token
from interceptor.workload.bundle import Plane, Wish
from interceptor.workload.group import Group
from interceptor.workload.token import Grant

DAY_S = 86400.0
NOW_S = certificate.now_s()
GROUP = Group(
    "ratings",
    "vm",
    labels={"app": "ratings"},
    ports={"http": 9080},
    service_account="shop",
    network="vm-net",
    probe={"httpGet": {"path": "/health", "port": 9080}, "periodSeconds": 5},
)


def root(begins_s: float = NOW_S - DAY_S, ends_s: float = NOW_S + DAY_S) -> bytes:
    return signing.make_root("ecdsa-p256", "tests", begins_s, ends_s).certificate


def bearer(ends_s: float = NOW_S + 3600, account: str = "shop", namespace: str = "vm") -> str:
    member = SpiffeId("cluster.local", namespace, account)
    return token.encode(Grant(member, NOW_S, ends_s), b"secret")


def plane() -> Plane:
    return Plane(
        root=root(),
        token=bearer(),
        discovery="istiod.istio-system.svc:15012",
        proxy={"meshId": "mesh1"},
        cluster="east",
        ingress=("203.0.113.7",),
    )


def istio(group: Group = GROUP, wish: Wish | None = None) -> dict[str, bytes]:
    """For a cluster with istiod."""
    return bundle.build(group, plane(), wish or Wish(autoregister=True))


SHOP = b"""\
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: ratings, namespace: vm}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop, namespace: vm}
spec:
  hosts: [shop.mesh.test]
  addresses: [10.96.7.7]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 8080, name: http, protocol: HTTP}]
  endpoints: [{address: 198.51.100.53}]
"""


def site(group: Group = GROUP, authority: str = "") -> dict[str, bytes]:
    """For a site without istiod; ``authority``: HOST:PORT of who issues certificates."""
    bare = replace(
        plane(), discovery="", ingress=(), authority=authority, documents={"shop.yaml": SHOP}
    )
    return bundle.build(group, bare, Wish(autoregister=True))
