"""Whether a bundle will do, told before anything of it is used: every problem at once. PURE.

What only the control plane knows (whether it takes the token, whether the group is there) is told
by it, once this VM has connected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from interceptor.config import Config
from interceptor.errors import Problem
from interceptor.workload import bearer, bundle, certificate
from interceptor.workload.bearer import BearerError, Claims
from interceptor.workload.certificate import CertificateError

Files = Mapping[str, bytes]

GET_TOKEN = (
    "`interceptor workload entry configure` (or istioctl's) gives another; `interceptor authority "
    "token` at a site without istiod"
)


def check_files(files: Files, where: str) -> Iterator[Problem]:
    """Whether all are there that every bundle has, and are text."""
    if bundle.CLUSTER not in files and bundle.MESH not in files:
        there = ", ".join(sorted(files)) or "nothing that belongs to one"
        legal = "cluster.env and mesh.yaml, as `workload entry configure` writes them"
        yield Problem(where, "(bundle)", there, legal)
        return
    for name in (bundle.CLUSTER, bundle.MESH):
        if name not in files:
            yield Problem(where, name, "(missing)", "a file of that name")
    for name in (bundle.CLUSTER, bundle.MESH, bundle.HOSTS, bundle.TOKEN, bundle.SETTINGS):
        try:
            files.get(name, b"").decode()
        except UnicodeDecodeError as error:
            yield Problem(f"{where}/{name}", "(file)", str(error), "UTF-8")


def check(files: Files, config: Config, where: str, now_s: float) -> Iterator[Problem]:
    """Whether certificate and token fit what the configuration makes of them. ``now_s`` is this
    host's clock, in seconds since 1970."""
    if needs_identity(config):
        yield from check_root(files.get(bundle.ROOT), f"{where}/{bundle.ROOT}", now_s)
        yield from check_token(files.get(bundle.TOKEN), config, f"{where}/{bundle.TOKEN}", now_s)


def needs_identity(config: Config) -> bool:
    """Whether a root and a token are for anything."""
    plain = config.mesh.istiod.tls == "off"
    return config.identity.provider == "istiod" or (
        config.mesh.source == "istiod" and not plain and config.identity.provider == "auto"
    )


def check_root(pem: bytes | None, where: str, now_s: float) -> Iterator[Problem]:
    legal = "certificates of authorities in PEM, one of which istiod's own is signed by"
    if not pem or not pem.strip():
        yield Problem(where, "(file)", "(missing)" if pem is None else "(empty)", legal)
        return
    try:
        found = certificate.read(pem)
    except CertificateError as error:
        yield Problem(where, "(file)", str(error), legal)
        return
    if pem.count(b"-----BEGIN CERTIFICATE-----") != len(found):
        yield Problem(where, "(file)", "its last certificate is cut off", legal)
    good = []
    for one in found:
        name = one.subject or one.fingerprint[:16]
        if not one.is_authority:
            yield Problem(where, name, "is no certificate of an authority", legal)
        elif one.not_after_s <= now_s:
            yield Problem(where, name, f"ended {certificate.date(one.not_after_s)}", _clock(now_s))
        elif one.not_before_s > now_s:
            date = certificate.date(one.not_before_s)
            yield Problem(where, name, f"begins {date}", _clock(now_s))
        else:
            good.append(one)


def check_token(data: bytes | None, config: Config, where: str, now_s: float) -> Iterator[Problem]:
    text = (data or b"").decode(errors="replace").strip()
    if not text:
        yield Problem(where, "(file)", "(missing)" if data is None else "(empty)", GET_TOKEN)
        return
    try:
        claims = bearer.decode(text)
    except BearerError as error:
        yield Problem(where, "(token)", str(error), GET_TOKEN)
        return
    yield from _check_times(claims, where, now_s)
    yield from _check_subject(claims, config, where)


def _check_times(claims: Claims, where: str, now_s: float) -> Iterator[Problem]:
    ends, begins = claims.not_after_s, claims.not_before_s
    if ends is not None and ends <= now_s:
        legal = f"{GET_TOKEN}; {_clock(now_s)}"
        yield Problem(where, "exp", f"expired {certificate.date(ends)}", legal)
    if begins is not None and begins > now_s:
        yield Problem(where, "nbf", f"begins {certificate.date(begins)}", _clock(now_s))


def _check_subject(claims: Claims, config: Config, where: str) -> Iterator[Problem]:
    """istiod compares who the token is of with what the node says, and refuses another's."""
    node = config.node
    own = (node.namespace, node.service_account)
    theirs = (claims.namespace, claims.service_account)
    if claims.service_account and theirs != own:
        legal = f"{bearer.ACCOUNT}{own[0]}:{own[1]}, whom cluster.env names"
        yield Problem(where, "sub", claims.subject, legal)


def _clock(now_s: float) -> str:
    return f"this host's clock says {certificate.date(now_s)}"


def notes(files: Files, config: Config) -> Iterator[str]:
    """What is no problem, and somebody may want to know."""
    if not needs_identity(config):
        return
    try:
        claims = bearer.decode(files[bundle.TOKEN].decode())
    except (BearerError, KeyError, UnicodeDecodeError):
        return
    if claims.audiences and bearer.AUDIENCE not in claims.audiences:
        yield (
            f"the token is for {', '.join(claims.audiences)}, not {bearer.AUDIENCE}: an istiod "
            "with the usual settings refuses it"
        )
    if claims.not_after_s is not None:
        yield (
            f"the token ends {certificate.date(claims.not_after_s)}; from the first certificate "
            "on this VM proves itself by that"
        )
