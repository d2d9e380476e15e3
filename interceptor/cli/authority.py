"""`interceptor authority`: the small certificate authority of sites without istiod."""

from __future__ import annotations

import json
from pathlib import Path

import click

from interceptor.cli import duration, option
from interceptor.config import Config
from interceptor.errors import InterceptorError
from interceptor.host import atomic
from interceptor.mesh.identity import SpiffeId
from interceptor.workload import certificate, keystore, signing, token
from interceptor.workload.keystore import Keys, NoAuthority
from interceptor.workload.signing import KeyKind
from interceptor.workload.token import Grant

kind_option = click.option(
    "--key",
    "kind",
    type=click.Choice(signing.KINDS),
    default="ecdsa-p256",
    show_default=True,
    help="Kind of the root's key.",
)


@click.group()
def authority() -> None:
    """A certificate authority of one's own, for sites without istiod.

    The host that runs `init` has its key in authority.dir. With authority.listen its daemon
    gives certificates to members that show a token, or a certificate that still holds.
    """


@authority.command()
@kind_option
@option.as_json
@option.configured
def init(config: Config, kind: KeyKind, as_json: bool) -> None:
    """Make an authority for identity.trust_domain; one that is there is left alone."""
    folder, now_s = config.authority.dir, certificate.now_s()
    try:
        keystore.load(folder)
    except NoAuthority:
        pass
    else:
        raise InterceptorError(f"{folder} has an authority: see `authority show`, `rotate`")
    keys = keystore.make(config.identity.trust_domain, kind, config.authority.ttl_s, now_s)
    keystore.save(folder, keys, now_s)
    _tell(config, keys, as_json)


@authority.command("token")
@click.option("-n", "--namespace", help="Namespace of the member [default: node.namespace].")
@click.option(
    "-s", "--service-account", help="Its service account [default: node.service_account]."
)
@click.option(
    "--lifetime",
    callback=duration.option,
    default="1h",
    show_default=True,
    help="How long it may be used to get a first certificate.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the token there, 0600, and print nothing.",
)
@option.as_json
@option.configured
def make_token(
    config: Config,
    namespace: str | None,
    service_account: str | None,
    lifetime: float,
    output: Path | None,
    as_json: bool,
) -> None:
    """Print a token by which one member gets its first certificate."""
    folder, now_s = config.authority.dir, certificate.now_s()
    keys = keystore.load(folder)
    member = SpiffeId(
        keys.trust_domain,
        namespace or config.node.namespace,
        service_account or config.node.service_account,
    )
    if not member.is_legal:
        raise click.UsageError(f"{member.uri}: not a name; a-z, 0-9 and - are legal")
    if lifetime < 1:
        raise click.UsageError("--lifetime: at least 1s")
    made = token.encode(Grant(member, now_s, now_s + lifetime), keys.secret)
    if output is not None:
        atomic.replace(output, lambda file: file.write(f"{made}\n".encode()))
    if as_json:
        tree = {"name": member.uri, "not_after": certificate.date(now_s + lifetime)}
        where = {"token": made} if output is None else {"file": str(output)}
        click.echo(json.dumps(tree | where, indent=2))
    elif output is None:
        click.echo(made)


@authority.command()
@click.option("--roots", is_flag=True, help="Print the roots that members are to believe, PEM.")
@option.as_json
@option.configured
def show(config: Config, roots: bool, as_json: bool) -> None:
    """Show the authority of this host: its trust domain, its roots, what each does now."""
    keys = keystore.load(config.authority.dir)
    if roots:
        click.echo(keys.bundle(certificate.now_s()), nl=False)
        return
    _tell(config, keys, as_json)


@authority.command()
@kind_option
@click.option(
    "--now",
    "at_once",
    is_flag=True,
    help="The old root and every token are worth nothing from now on: its key was seen by others."
    " Members need a new token and root certificate each.",
)
@option.as_json
@option.configured
def rotate(config: Config, kind: KeyKind, at_once: bool, as_json: bool) -> None:
    """Change the root: both are handed out until every certificate of the old one has ended.

    Nothing is to be done on the members; it takes twice authority.ttl_s.
    """
    folder, now_s = config.authority.dir, certificate.now_s()
    change = keystore.replace_now if at_once else keystore.rotate
    keys = change(keystore.load(folder), kind, config.authority.ttl_s, now_s)
    keystore.save(folder, keys, now_s)
    _tell(config, keys, as_json)


def _tell(config: Config, keys: Keys, as_json: bool) -> None:
    now_s, folder = certificate.now_s(), config.authority.dir
    keys = keys.current(now_s)
    roots = [
        {
            "state": state,
            "not_after": certificate.date(found.not_after_s),
            "fingerprint": found.fingerprint,
        }
        for root, state in zip(keys.roots, keystore.stages(keys, now_s), strict=True)
        for found in certificate.read(root.signer.certificate)
    ]
    if as_json:
        tree = {
            "trust_domain": keys.trust_domain,
            "dir": str(folder),
            "root_cert": str(folder / keystore.ROOTS),
            "listen": config.authority.listen,
            "ttl_s": config.authority.ttl_s,
            "roots": roots,
        }
        click.echo(json.dumps(tree, indent=2))
        return
    click.echo(f"trust domain   {keys.trust_domain}")
    click.echo(f"key            {folder / keystore.NAME}")
    click.echo(f"for members    {folder / keystore.ROOTS}")
    click.echo(
        f"listens at     {config.authority.listen or '(nowhere: authority.listen is empty)'}"
    )
    for root in roots:
        click.echo(f"root           {root['state']:<6} until {root['not_after']}")
        click.echo(f"               sha256 {root['fingerprint']}")
