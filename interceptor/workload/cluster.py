"""A Kubernetes cluster with Istio, asked through its API: what a VM of it needs to know.

The only importer of kubernetes (an extra of this package), imported when a cluster is opened. The
cluster is chosen as kubectl chooses it: --kubeconfig, KUBECONFIG, ~/.kube/config, --context; and
in a pod without any of these by the pod's own account.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import yaml

from interceptor.errors import ConfigError, InterceptorError, Problem, Unsupported
from interceptor.workload import bearer, installation
from interceptor.workload.group import Group, decode
from interceptor.workload.installation import Istio, Mesh, Tree, items, text
from interceptor.workload.member import JSON

if TYPE_CHECKING:
    from kubernetes import client

Answer = TypeVar("Answer")

ISTIO = "networking.istio.io"
ISTIO_VERSION = "v1"
OLD_VERSION = "v1beta1"  # of control planes before 1.22
LIMIT_S = 20
ROOT_MAP, ROOT_KEY = "istio-ca-root-cert", "root-cert.pem"
NOT_FOUND, CONFLICT = 404, 409
IN_CLUSTER = "KUBERNETES_SERVICE_HOST"


class NotThere(InterceptorError):
    """The cluster has no such object."""


class Cluster:
    """An open client. Every method raises InterceptorError with the API's own reason."""

    def __init__(self, api: client.ApiClient) -> None:
        from kubernetes import client

        self._api = api
        self._core = client.CoreV1Api(api)
        self._custom = client.CustomObjectsApi(api)

    def read_group(self, name: str, namespace: str) -> Group:
        """A WorkloadGroup, of whichever version the cluster has."""
        try:
            return decode(cast("Mapping[str, JSON]", self.read("workloadgroups", namespace, name)))
        except NotThere as error:
            known = self._list_groups(namespace)
            there = ", ".join(known) if known else "none is there"
            problem = Problem("(cluster)", "--name", f"{namespace}/{name}", f"one of: {there}")
            raise ConfigError([problem]) from error

    def _list_groups(self, namespace: str) -> list[str]:
        with _told(f"WorkloadGroups of {namespace}, of a cluster with Istio"):
            found = self._versioned(
                lambda version: self._custom.list_namespaced_custom_object(
                    ISTIO, version, namespace, "workloadgroups", _request_timeout=LIMIT_S
                )
            )
        return [text(item, "metadata", "name") for item in items(found, "items")]

    def read_root(self, namespace: str) -> bytes:
        """The root certificate of the mesh, as istiod writes it to every namespace."""
        return self._read_map(ROOT_MAP, namespace, ROOT_KEY).encode()

    def read_mesh(self, istio: Istio) -> Mesh:
        """The mesh's settings, of the control plane's revision."""
        found = self._read_map(f"istio{istio.suffix}", istio.namespace, "mesh")
        return installation.parse_mesh(found, f"ConfigMap {istio.namespace}/istio{istio.suffix}")

    def read_cluster_id(self, istio: Istio) -> str:
        """As the injector tells pods of this cluster; Kubernetes where it does not say."""
        try:
            name = f"istio-sidecar-injector{istio.suffix}"
            values = json.loads(self._read_map(name, istio.namespace, "values"))
        except (NotThere, ValueError):
            return "Kubernetes"
        return text(values, "global", "multiCluster", "clusterName") or "Kubernetes"

    def make_token(self, service_account: str, namespace: str, lifetime_s: int) -> str:
        """A bearer token for istiod's CA (TokenRequest); the API may give it a shorter life."""
        spec = {"audiences": [bearer.AUDIENCE], "expirationSeconds": lifetime_s}
        # As a mapping: the library's class for it has been called differently.
        make = cast("Callable[..., object]", self._core.create_namespaced_service_account_token)
        with _told(f"a token for the ServiceAccount {namespace}/{service_account}"):
            made = make(service_account, namespace, {"spec": spec}, _request_timeout=LIMIT_S)
        return text(self._plain(made), "status", "token")

    def read_ingress(self, name: str, namespace: str) -> tuple[str, ...]:
        """As `installation.choose_ingress`; empty where there is no such Service either."""
        try:
            with _told(f"Service {namespace}/{name}"):
                found = self._core.read_namespaced_service(
                    name, namespace, _request_timeout=LIMIT_S
                )
        except NotThere:
            return ()
        return installation.choose_ingress(self._plain(found))

    def read(self, plural: str, namespace: str, name: str) -> Tree:
        """A document of networking.istio.io."""
        with _told(f"{plural} {namespace}/{name}"):
            return self._versioned(
                lambda version: cast(
                    "Tree",
                    self._custom.get_namespaced_custom_object(
                        ISTIO, version, namespace, plural, name, _request_timeout=LIMIT_S
                    ),
                )
            )

    def find(self, plural: str, namespace: str, name: str) -> Tree | None:
        """As `read`; None where it is not there."""
        try:
            return self.read(plural, namespace, name)
        except NotThere:
            return None

    def apply(self, plural: str, tree: Tree) -> None:
        """Make a document, or replace the one whose resourceVersion it names."""
        namespace, name = text(tree, "metadata", "namespace"), text(tree, "metadata", "name")
        is_known = bool(text(tree, "metadata", "resourceVersion"))
        body = dict(tree)

        def write(version: str) -> object:
            body["apiVersion"] = f"{ISTIO}/{version}"
            place = (ISTIO, version, namespace, plural)
            if is_known:
                return self._custom.replace_namespaced_custom_object(
                    *place, name, body, _request_timeout=LIMIT_S
                )
            return self._custom.create_namespaced_custom_object(
                *place, body, _request_timeout=LIMIT_S
            )

        with _told(f"{plural} {namespace}/{name}"):
            self._versioned(write)

    def remove(self, plural: str, namespace: str, name: str) -> None:
        """A document; it may have gone already."""
        try:
            with _told(f"{plural} {namespace}/{name}"):
                self._versioned(
                    lambda version: self._custom.delete_namespaced_custom_object(
                        ISTIO, version, namespace, plural, name, _request_timeout=LIMIT_S
                    )
                )
        except NotThere:
            return

    def list_entries(self, namespace: str, selector: str) -> list[Tree]:
        """WorkloadEntries by labels, ``key=value`` with commas between."""
        with _told(f"workloadentries of {namespace}"):
            found = self._versioned(
                lambda version: self._custom.list_namespaced_custom_object(
                    *(ISTIO, version, namespace, "workloadentries"),
                    label_selector=selector,
                    _request_timeout=LIMIT_S,
                )
            )
        return items(found, "items")

    def _plain(self, value: object) -> Tree:
        """An answer with the API's own names, the same in every version of the library."""
        plain = cast("Callable[[object], Tree]", self._api.sanitize_for_serialization)
        return plain(value)

    def _versioned(self, ask: Callable[[str], Answer]) -> Answer:
        """By the version that the cluster has: an old one answers 404 for what is new."""
        try:
            return ask(ISTIO_VERSION)
        except Exception as error:
            if getattr(error, "status", None) != NOT_FOUND:
                raise
        return ask(OLD_VERSION)

    def _read_map(self, name: str, namespace: str, key: str) -> str:
        with _told(f"ConfigMap {namespace}/{name}"):
            found = self._core.read_namespaced_config_map(name, namespace, _request_timeout=LIMIT_S)
        value = (found.data or {}).get(key)
        if value is None:
            raise NotThere(f"ConfigMap {namespace}/{name} has no {key}")
        return str(value)


def open_cluster(kubeconfig: Path | None = None, context: str = "") -> Cluster:
    """The cluster that kubectl would talk to. Raises Unsupported without the library, and
    InterceptorError where there is no configuration, or no such context."""
    try:
        from kubernetes import client, config
    except ImportError as error:
        needs = "python3-kubernetes, or `pip install interceptor[kubernetes]`"
        raise Unsupported("talking to a Kubernetes API", needs) from error
    settings = client.Configuration()
    settings.retries = 1
    try:
        if _is_in_pod(kubeconfig, context):
            load_own = cast("Callable[..., None]", config.load_incluster_config)
            load_own(client_configuration=settings)
        else:
            load = cast("Callable[..., None]", config.load_kube_config)
            load(
                config_file=str(kubeconfig) if kubeconfig else None,
                context=context or None,
                client_configuration=settings,
                persist_config=False,
            )
    except (config.ConfigException, OSError, yaml.YAMLError) as error:
        raise InterceptorError(
            f"no cluster to talk to: {error}; name one with --kubeconfig"
        ) from error
    return Cluster(client.ApiClient(settings))


def _is_in_pod(kubeconfig: Path | None, context: str) -> bool:
    named = kubeconfig or context or os.environ.get("KUBECONFIG")
    default = Path.home() / ".kube/config"
    return not named and not default.exists() and IN_CLUSTER in os.environ


@contextmanager
def _told(what: str) -> Iterator[None]:
    """The library's errors as one line: it prints whole HTTP answers, headers and all."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        reason = _reason(error)
        if error.status == NOT_FOUND:
            raise NotThere(f"{what}: {reason}") from error
        raise InterceptorError(f"{what}: the cluster answers {error.status}: {reason}") from error
    except HTTPError as error:
        raise InterceptorError(f"{what}: the cluster does not answer: {error}") from error


def _reason(error: object) -> str:
    """What the API says (a Status object), else HTTP's own word."""
    try:
        return str(json.loads(str(getattr(error, "body", "")))["message"])
    except (ValueError, KeyError, TypeError):
        return str(getattr(error, "reason", error))
