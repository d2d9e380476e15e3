"""A small Kubernetes API server over TLS: the few paths that `cluster` asks, with bearer tokens,
409 for what is there, 404 in the API's own form. What it was asked is written down."""

from __future__ import annotations

import json
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from interceptor.workload import signing
from interceptor.workload.signing import Leaf
from tests.unit.workload import packed

TOKEN = "an-administrator's"
Tree = dict[str, Any]


class Api:
    """``objects``: path → document. ``asked``: method, path with query, body."""

    def __init__(self) -> None:
        self.objects: dict[str, Tree] = {}
        self.versions = {"v1", "v1beta1"}
        self.asked: list[tuple[str, str, Tree]] = []
        self.port = 0
        self.root = b""

    def put(self, path: str, **tree: object) -> None:
        self.objects[path] = {"metadata": {"name": path.rpartition("/")[2]}, **tree}

    def answer(self, method: str, target: str, body: Tree) -> tuple[int, Tree]:
        url = urlsplit(target)
        path = url.path
        self.asked.append((method, target, body))
        words = path.split("/")
        if "networking.istio.io" in words:
            if words[words.index("networking.istio.io") + 1] not in self.versions:
                return 404, {"message": "the server could not find the requested resource"}
            path = path.replace("/v1beta1/", "/v1/")
        if path.endswith("/token"):
            return self._token(path.removesuffix("/token"), body)
        name = str(body.get("metadata", {}).get("name", ""))
        if method == "POST":
            if f"{path}/{name}" in self.objects:
                return 409, {"message": f"{name} already exists"}
            self.objects[f"{path}/{name}"] = self._stamped(body)
            return 201, body
        inner = {key: tree for key, tree in self.objects.items() if key.startswith(f"{path}/")}
        if (path not in self.objects and method == "GET" and words[-3] == "namespaces") or inner:
            return 200, {"items": [*self._chosen(inner, parse_qs(url.query))]}
        if path not in self.objects:
            return 404, {"message": f"{words[-2]} {words[-1]!r} not found"}
        if method == "DELETE":
            return 200, self.objects.pop(path)
        if method == "PUT":
            versions = [
                tree["metadata"].get("resourceVersion") for tree in (body, self.objects[path])
            ]
            if versions[0] != versions[1]:
                return 409, {"message": "the object has been modified"}
            self.objects[path] = self._stamped(body)
        return 200, self.objects[path]

    def _stamped(self, tree: Tree) -> Tree:
        tree["metadata"]["resourceVersion"] = str(len(self.asked))
        return tree

    def _chosen(self, inner: dict[str, Tree], query: dict[str, list[str]]) -> Iterator[Tree]:
        wanted = [
            pair.split("=") for pair in query.get("labelSelector", [""])[0].split(",") if pair
        ]
        for tree in inner.values():
            labels = tree["metadata"].get("labels", {})
            if all(labels.get(key) == value for key, value in wanted):
                yield tree

    def _token(self, account: str, body: Tree) -> tuple[int, Tree]:
        if account not in self.objects:
            return 404, {"message": f"serviceaccounts {account.rpartition('/')[2]!r} not found"}
        words = account.split("/")
        spec = body["spec"]
        token = packed.bearer(
            packed.NOW_S + spec["expirationSeconds"],
            words[-1],
            words[words.index("namespaces") + 1],
        )
        status = {"token": token, "expirationTimestamp": "2030-01-01T00:00:00Z"}
        return 201, {"spec": spec, "status": status}

    def kubeconfig(self, folder: Path, token: str = TOKEN) -> Path:
        """With a context that works, and one that does not."""
        (folder / "ca.pem").write_bytes(self.root)
        tree = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "good",
            "clusters": [
                {
                    "name": "one",
                    "cluster": {
                        "server": f"https://127.0.0.1:{self.port}",
                        "certificate-authority": str(folder / "ca.pem"),
                    },
                },
                {"name": "gone", "cluster": {"server": "https://127.0.0.1:1"}},
            ],
            "users": [{"name": "me", "user": {"token": token}}],
            "contexts": [
                {"name": "good", "context": {"cluster": "one", "user": "me"}},
                {"name": "gone", "context": {"cluster": "gone", "user": "me"}},
            ],
        }
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(tree))
        return path


@contextmanager
def serve() -> Iterator[Api]:
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size) or b"{}")
            scheme, _, token = self.headers.get("Authorization", "").partition(" ")
            if (scheme.lower(), token) != ("bearer", TOKEN):
                status, tree = 401, {"message": "Unauthorized"}
            else:
                status, tree = api.answer(self.command, self.path, body)
            data = json.dumps({"kind": "Status", **tree}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _serve

        def log_message(self, *_words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with tempfile.TemporaryDirectory() as folder:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        api.root = _certify(Path(folder))
        context.load_cert_chain(f"{folder}/chain.pem", f"{folder}/key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    api.port = server.server_port
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _certify(folder: Path) -> bytes:
    """Key and certificate of the server in a folder; the root is returned."""
    now_s = packed.NOW_S
    root = signing.make_root("ecdsa-p256", "kubernetes", now_s - 60, now_s + 3600)
    key = signing.make_key("ecdsa-p256")
    request = signing.read_request(signing.build_csr(key, "spiffe://kubernetes"))
    leaf = Leaf(request.public_key, (), now_s - 60, now_s + 3600, ("127.0.0.1",))
    (folder / "key.pem").write_bytes(key)
    (folder / "chain.pem").write_bytes(signing.issue(leaf, root))
    return root.certificate


ISTIO = "/apis/networking.istio.io/v1/namespaces"


def fill(api: Api) -> None:
    """A cluster with Istio, a group `ratings` in `vm`, and a gateway that leads to it."""
    api.put(
        f"{ISTIO}/vm/workloadgroups/ratings",
        apiVersion="networking.istio.io/v1",
        kind="WorkloadGroup",
        metadata={"name": "ratings", "namespace": "vm"},
        spec={
            "metadata": {"labels": {"app": "ratings"}},
            "template": {"ports": {"http": 9080}, "serviceAccount": "shop"},
            "probe": {"tcpSocket": {"port": 9080}},
        },
    )
    maps = "/api/v1/namespaces"
    api.put(f"{maps}/vm/configmaps/istio-ca-root-cert", data={"root-cert.pem": "ROOT"})
    mesh = "trustDomain: corp.example\ndefaultConfig: {meshId: mesh1, concurrency: 3}\n"
    api.put(f"{maps}/istio-system/configmaps/istio", data={"mesh": mesh})
    api.put(f"{maps}/istio-system/configmaps/istio-canary", data={"mesh": "{}"})
    values = {"global": {"multiCluster": {"clusterName": "east"}}}
    injector = f"{maps}/istio-system/configmaps/istio-sidecar-injector"
    api.put(injector, data={"values": json.dumps(values)})
    api.put(f"{maps}/vm/serviceaccounts/shop")
    gateway(api, {"ip": "203.0.113.7"})


def gateway(api: Api, *ingress: Tree, external: tuple[str, ...] = ()) -> None:
    api.put(
        "/api/v1/namespaces/istio-system/services/istio-eastwestgateway",
        spec={"externalIPs": list(external), "ports": []},
        status={"loadBalancer": {"ingress": list(ingress)}},
    )
