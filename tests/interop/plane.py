"""A real istiod, with a real Kubernetes API and etcd behind it, on one host of a lab.

No cluster: nothing schedules anything. The API is asked with curl, as its client
on the host would be.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from interceptor.host import command
from interceptor.host.command import Process
from interceptor.lab.removal import LabFailed, wait_until
from interceptor.lab.world import Lab

PORT = 15012
SERVER_NAME = "istiod.istio-system.svc"
ADMIN = "only-in-this-lab"
URL = "https://127.0.0.1:6443"
START_S = 60
MESH_CONFIG = "rootNamespace: istio-system\n"
ENVIRONMENT = (
    "POD_NAMESPACE=istio-system",
    "POD_NAME=istiod-0",
    "CLUSTER_ID=Kubernetes",
    "PILOT_CERT_PROVIDER=istiod",
)
GROUPS = {"v1": "/api/v1"}
"""Path of an API group's version, where it is not /apis/GROUP/VERSION."""


def place(document: Mapping[str, Any]) -> str:
    """Where the API has an object: its path."""
    version, meta = document["apiVersion"], document["metadata"]
    kind = document["kind"].lower()
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    namespace = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
    return f"{GROUPS.get(version, f'/apis/{version}')}{namespace}/{plural}/{meta['name']}"


class Plane:
    """The three programs. `istiod` is what comes and goes; the others stay."""

    def __init__(self, lab: Lab, host: str, programs: Path) -> None:
        self._lab, self._host, self._programs = lab, host, programs
        self._folder = lab.host_folder(host)
        self.istiod: Process | None = None

    def open(self) -> None:
        """API, istiod's kinds of documents, istiod."""
        self._prepare()
        self._start_api()
        wait_until(lambda: self._curl("/readyz", check=False) == "ok", "the API", START_S)
        for document in yaml.safe_load_all((self._programs / "crds.yaml").read_text()):
            self.apply(document)
        for name in ("istio-system", "bookinfo", "vm"):
            self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            account = {"name": "default", "namespace": name}
            self.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
        meta = {"name": "istio", "namespace": "istio-system"}
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
        self.apply({**config, "data": {"mesh": MESH_CONFIG}})
        self.start_istiod()

    def _prepare(self) -> None:
        folder = self._folder
        command.run(["openssl", "genrsa", "-out", str(folder / "sa.key"), "2048"])
        public = ["openssl", "rsa", "-in", str(folder / "sa.key"), "-pubout"]
        command.run([*public, "-out", str(folder / "sa.pub")])
        (folder / "tokens.csv").write_text(f'{ADMIN},admin,1,"system:masters"\n')
        (folder / "mesh.yaml").write_text(MESH_CONFIG)
        user = {"name": "admin", "user": {"token": ADMIN}}
        cluster = {"server": URL, "insecure-skip-tls-verify": True}
        tree = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [user],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
            "current-context": "lab",
        }
        self.kubeconfig.write_text(yaml.safe_dump(tree))

    @property
    def kubeconfig(self) -> Path:
        """For whoever is on this host."""
        return self._folder / "kubeconfig"

    def _start_api(self) -> None:
        folder = self._folder
        etcd = [
            f"{self._programs}/etcd",
            f"--data-dir={folder}/etcd",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync",
        ]
        api = [
            f"{self._programs}/kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--secure-port=6443",
            f"--cert-dir={folder}/api",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder}/sa.pub",
            f"--service-account-signing-key-file={folder}/sa.key",
            f"--token-auth-file={folder}/tokens.csv",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--endpoint-reconciler-type=none",
        ]
        for argv, log in ((etcd, "etcd"), (api, "api")):
            self._lab.start(self._host, argv, log, detached=True)

    def start_istiod(self) -> None:
        """Until it serves."""
        argv = [
            "env",
            *ENVIRONMENT,
            f"{self._programs}/pilot-discovery",
            "discovery",
            f"--kubeconfig={self.kubeconfig}",
            f"--meshConfig={self._folder}/mesh.yaml",
            "--networksConfig=/nonexistent",
            "--domain=cluster.local",
            "--grpcAddr=127.0.0.1:15010",
            f"--secureGRPCAddr=:{PORT}",
            "--httpsAddr=",
            "--httpAddr=127.0.0.1:8080",
            "--monitoringAddr=127.0.0.1:15014",
            "--ctrlz_port=0",
        ]
        self.istiod = self._lab.start(self._host, argv, "istiod", detached=True)
        wait_until(self._is_serving, "istiod", START_S)

    def _is_serving(self) -> bool:
        if self.istiod is not None and (code := self.istiod.poll()) is not None:
            raise LabFailed(f"istiod ended with {code}\n{self._lab.log(self._host, 'istiod')}")
        found = self._lab.run(self._host, ["ss", "-Htln", f"sport = :{PORT}"]).stdout
        return bool(found.strip())

    def end_istiod(self, number: signal.Signals = signal.SIGKILL) -> None:
        """As the OOM killer would."""
        assert self.istiod is not None
        self.istiod.signal(number)
        self.istiod.wait(20)
        self.istiod = None

    def apply(self, document: Mapping[str, Any]) -> None:
        """Create an object, or make it so (server-side apply)."""
        # A kind that was described this moment is served a little later.
        wait_until(lambda: self._apply(document), f"{document['kind']} in the API", 20)

    def _apply(self, document: Mapping[str, Any]) -> bool:
        path = f"{place(document)}?fieldManager=interop&force=true"
        words = ["-X", "PATCH", "-H", "Content-Type: application/apply-patch+yaml"]
        answer = json.loads(self._curl(path, *words, stdin=json.dumps(document)))
        if answer.get("kind") != "Status":
            return True
        if answer.get("code") == 404:
            return False
        raise LabFailed(f"the API refuses {place(document)}: {answer.get('message')}")

    def delete(self, document: Mapping[str, Any]) -> None:
        """Remove an object."""
        self._curl(place(document), "-X", "DELETE")

    def read(self, path: str) -> dict[str, Any]:
        """What the API has at a path."""
        found: dict[str, Any] = json.loads(self._curl(path))
        return found

    def token(self, namespace: str, account: str, life_s: int = 3600) -> str:
        """A service account's, for istiod (audience istio-ca)."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        spec = {"spec": {"audiences": ["istio-ca"], "expirationSeconds": life_s}}
        words = ["-X", "POST", "-H", "Content-Type: application/json"]
        return str(json.loads(self._curl(path, *words, stdin=json.dumps(spec)))["status"]["token"])

    def root_cert(self) -> str:
        """What istiod gives every namespace to know it by."""
        path = "/api/v1/namespaces/vm/configmaps/istio-ca-root-cert"
        found: list[str] = []

        def is_there() -> bool:
            found[:] = [self.read(path).get("data", {}).get("root-cert.pem", "")]
            return bool(found[0])

        wait_until(is_there, "istio-ca-root-cert", 20)
        return found[0]

    def _curl(self, path: str, *words: str, stdin: str | None = None, check: bool = True) -> str:
        argv = ["curl", "-sSk", "-m", "20", "-H", f"Authorization: Bearer {ADMIN}", *words]
        if stdin is not None:
            argv += ["--data-binary", "@-"]
        return self._lab.run(self._host, [*argv, URL + path], stdin, check=check).stdout


def programs() -> Path:
    """Where `scripts/interop` has built the three."""
    folder = Path(os.environ.get("INTERCEPTOR_INTEROP", "/nonexistent"))
    if not (folder / "pilot-discovery").exists():
        raise LabFailed("no istiod: these tests are run by scripts/interop, which builds it")
    return folder
