"""xDS types by their URLs, and what istiod does by them."""

from __future__ import annotations

PREFIX = "type.googleapis.com/"
CLUSTER = PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINT = PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = PREFIX + "envoy.config.listener.v3.Listener"
ROUTE = PREFIX + "envoy.config.route.v3.RouteConfiguration"
SECRET = PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
EXTENSION = PREFIX + "envoy.config.core.v3.TypedExtensionConfig"
NAMES = PREFIX + "istio.networking.nds.v1.NameTable"
PROXY_CONFIG = PREFIX + "istio.mesh.v1alpha1.ProxyConfig"
HEALTH = PREFIX + "istio.v1.HealthInformation"

ORDER = (CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, EXTENSION, NAMES)
"""In which a push sends the types, so that nothing refers to what is not there yet."""

WILDCARD = frozenset((CLUSTER, LISTENER, NAMES))
"""Types that are sent whole to who names no resource."""

SHORT = {
    "cds": CLUSTER,
    "eds": ENDPOINT,
    "lds": LISTENER,
    "rds": ROUTE,
    "sds": SECRET,
    "ecds": EXTENSION,
    "nds": NAMES,
    "pcds": PROXY_CONFIG,
    "health": HEALTH,
}


def short(url: str) -> str:
    """``cds`` and so on; what has no short name as it is."""
    return next((name for name, known in SHORT.items() if known == url), url)
