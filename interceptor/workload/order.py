"""What somebody wants a bundle of, and where its contents come from: a cluster, or given files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from interceptor.errors import ConfigError, Problem
from interceptor.workload import bundle, group, installation
from interceptor.workload.bundle import Plane
from interceptor.workload.group import Group
from interceptor.workload.installation import Istio


@dataclass(frozen=True, slots=True)
class Order:
    """The options of `workload entry configure`."""

    file: Path | None
    name: str
    namespace: str
    output: Path
    cluster_id: str
    lifetime_s: int
    ingress_service: str
    ingress_ip: str
    autoregister: bool
    capture_dns: bool
    internal_ip: str
    external_ip: str
    kubeconfig: Path | None
    context: str
    istio_namespace: str
    revision: str
    root_cert: Path | None
    token: str
    token_file: Path | None
    discovery_address: str
    mesh_config: Path | None
    authority: str
    documents: Path | None

    @property
    def is_offline(self) -> bool:
        return self.root_cert is not None or bool(self.token or self.token_file or self.documents)


def observe(wish: Order) -> tuple[Group, Plane]:
    """The group, and what the VM must know of the mesh, from the cluster or from the files given.
    Raises ConfigError, and InterceptorError where the cluster refuses."""
    _check(wish)
    return _offline(wish) if wish.is_offline else _online(wish)


def _check(wish: Order) -> None:
    """Options that do not go together: all of them at once."""
    wrong = []
    if wish.internal_ip and wish.external_ip:
        wrong.append(("--internalIP", wish.internal_ip, "one of --internalIP and --externalIP"))
    for option, value in (("--internalIP", wish.internal_ip), ("--externalIP", wish.external_ip)):
        if value and not bundle.is_address(value):
            wrong.append((option, value, "an IP address"))
    if not wish.file and not (wish.name and wish.namespace):
        wrong.append(("--file", "(missing)", "a file, or --name and --namespace"))
    if wish.is_offline:
        wrong += _missing_offline(wish)
    if wrong:
        raise ConfigError([Problem("(options)", *one) for one in wrong])


def _missing_offline(wish: Order) -> list[tuple[str, str, str]]:
    needs_identity = bool(wish.discovery_address or wish.authority)
    wanted: list[tuple[str, object, str]] = [
        ("--file", wish.file, "a WorkloadGroup, where no cluster is asked for it")
    ]
    if needs_identity:
        wanted.append(("--root-cert", wish.root_cert, "the mesh's root certificate"))
        wanted.append(("--token-file", wish.token_file or wish.token, "a token of the authority"))
    missing = [(option, "(missing)", legal) for option, value, legal in wanted if not value]
    if not wish.discovery_address and not wish.documents:
        legal = "HOST:PORT of istiod; or --documents, for a site without it"
        missing.append(("--discovery-address", "(missing)", legal))
    return missing


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError([Problem(str(path), "(file)", str(error), "a readable file")]) from error


def _offline(wish: Order) -> tuple[Group, Plane]:
    assert wish.file is not None
    found = group.parse_group(_read(wish.file).decode(), str(wish.file), wish.name, wish.namespace)
    text = _read(wish.mesh_config).decode() if wish.mesh_config else ""
    mesh = installation.parse_mesh(text, str(wish.mesh_config))
    documents = sorted(wish.documents.iterdir()) if wish.documents else []
    return found, Plane(
        root=_read(wish.root_cert) if wish.root_cert else b"",
        token=_read(wish.token_file).decode() if wish.token_file else wish.token,
        discovery=wish.discovery_address,
        proxy=mesh.proxy,
        cluster=wish.cluster_id or "Kubernetes",
        trust_domain=mesh.trust_domain,
        ingress=(wish.ingress_ip,) if wish.ingress_ip else (),
        authority=wish.authority,
        documents={
            path.name: _read(path)
            for path in documents
            if bundle.is_document(f"{bundle.DOCUMENTS}/{path.name}")
        },
    )


def _online(wish: Order) -> tuple[Group, Plane]:
    from interceptor.workload import cluster

    one = cluster.open_cluster(wish.kubeconfig, wish.context)
    istio = Istio(wish.istio_namespace, wish.revision)
    if wish.file:
        text = _read(wish.file).decode()
        found = group.parse_group(text, str(wish.file), wish.name, wish.namespace)
    else:
        found = one.read_group(wish.name, wish.namespace)
    mesh = one.read_mesh(istio)
    discovery = str(mesh.proxy.get("discoveryAddress") or f"{istio.host}:{bundle.PORT}")
    ingress = (wish.ingress_ip,) if wish.ingress_ip else ()
    return found, Plane(
        root=one.read_root(found.namespace),
        token=one.make_token(found.service_account, found.namespace, wish.lifetime_s),
        discovery=wish.discovery_address or discovery,
        proxy=mesh.proxy,
        cluster=wish.cluster_id or one.read_cluster_id(istio),
        trust_domain=mesh.trust_domain,
        ingress=ingress or one.read_ingress(wish.ingress_service, wish.istio_namespace),
        authority=wish.authority or (f"{istio.host}:{bundle.PORT}" if istio.suffix else ""),
    )
