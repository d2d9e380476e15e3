"""`interceptor service`: services of this VM, told to the mesh and taken back."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import click

from interceptor import assembly
from interceptor.cli import option
from interceptor.cli.workload import pairs
from interceptor.config import Config
from interceptor.errors import ConfigError, InterceptorError, Problem
from interceptor.host import uplink
from interceptor.mesh.model import Address
from interceptor.workload import offer, offercluster, offerfile
from interceptor.workload.offer import Offer, Offered


@click.group()
def service() -> None:
    """Register a service of this VM with the mesh, as `istioctl register` did.

    Where the mesh is made of files, its documents go into the first folder of mesh.files; into a
    cluster with --kubeconfig. Several services on one VM are fine.
    """


def _ports(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> list[Offered]:
    """name=number or name=number:target."""
    found = []
    for name, value in pairs(ctx, param, given).items():
        number, _, target = value.partition(":")
        numbers = [
            int(text) if text.isascii() and text.isdigit() else 0 for text in (number, target)
        ]
        if not 0 < numbers[0] < 65536 or (target and not 0 < numbers[1] < 65536):
            raise click.BadParameter(f"{name}={value}: a port is 1 to 65535", param=param)
        found.append(Offered(name, numbers[0], numbers[1] or numbers[0]))
    return found


def _addresses(
    _ctx: click.Context, param: click.Parameter, given: tuple[str, ...]
) -> tuple[Address, ...]:
    try:
        return tuple(map(ip_address, given))
    except ValueError as error:
        raise click.BadParameter(str(error), param=param) from error


def placed(function: Callable[..., None]) -> Callable[..., None]:
    """Where the documents go."""
    for decorate in (
        click.option("-n", "--namespace", default="", help="Of the service [default: this VM's]."),
        click.option("--vm", default="", help="Name of this VM in documents [default: node.name]."),
        click.option(
            *("-c", "--kubeconfig"),
            type=click.Path(path_type=Path, dir_okay=False),
            help="Into the cluster of this configuration.",
        ),
        click.option("--context", default="", help="Of that configuration."),
    ):
        function = decorate(function)
    return function


@service.command()
@click.argument("name")
@click.option(
    "-p",
    "--port",
    "ports",
    callback=_ports,
    multiple=True,
    required=True,
    metavar="NAME=NUMBER[:TARGET]",
    help="A port by its name, which tells the protocol, as http or http-admin; TARGET where the "
    "service listens on another.",
)
@click.option(
    "--address",
    "addresses",
    callback=_addresses,
    multiple=True,
    metavar="ADDRESS",
    help="Where others reach it [default: node.addresses, else that of the route out].",
)
@click.option("--host", default="", help="Its name [default: NAME.NAMESPACE.svc.DOMAIN].")
@click.option(
    *("-l", "--labels"),
    callback=pairs,
    multiple=True,
    metavar="KEY=VALUE,...",
    help="Of its workload.",
)
@click.option("-w", "--weight", type=click.IntRange(0), default=0, help="In load balancing.")
@click.option("--print", "is_printed", is_flag=True, help="Print the documents; write nothing.")
@placed
@option.configured
def register(
    config: Config,
    name: str,
    ports: list[Offered],
    addresses: tuple[Address, ...],
    host: str,
    labels: Mapping[str, str],
    weight: int,
    is_printed: bool,
    namespace: str,
    vm: str,
    kubeconfig: Path | None,
    context: str,
) -> None:
    """Tell the mesh that this VM offers NAME.

    Nothing is overwritten that this command did not write, or that somebody has edited since.
    """
    wish = _offer(config, name, namespace, vm)
    wish = replace(
        wish,
        host=host or wish.host,
        ports=tuple(ports),
        addresses=addresses or config.node.addresses or uplink.observe()[:1],
        labels=labels,
        weight=weight,
    )
    if not wish.addresses:
        raise InterceptorError("this VM has no address that others could call: give --address")
    if is_printed:
        offer.check(wish)
        trees = [offer.build_service(wish), *offer.build_entries(wish)]
        click.echo(offer.render(trees).partition("\n")[2], nl=False)
    elif kubeconfig or context:
        offercluster.register(_open(kubeconfig, context), wish, click.echo)
    else:
        folder = _folder(config)
        _check_host(config, wish)
        offerfile.register(folder, wish, click.echo)


def _offer(config: Config, name: str, namespace: str, vm: str) -> Offer:
    """As this VM would offer it, if nothing else was said."""
    node = config.node
    namespace = namespace or node.namespace
    return Offer(
        name=name,
        namespace=namespace,
        host=f"{name}.{namespace}.svc.{node.domain}",
        vm=_vm(config, vm),
        ports=(),
        addresses=(),
        service_account=node.service_account,
        network=node.network,
        locality=node.locality,
    )


@service.command()
@click.argument("name")
@placed
@option.configured
def deregister(
    config: Config, name: str, namespace: str, vm: str, kubeconfig: Path | None, context: str
) -> None:
    """Take back what `register` told of NAME; it stays as long as other VMs offer it."""
    namespace, vm = namespace or config.node.namespace, _vm(config, vm)
    if kubeconfig or context:
        offercluster.deregister(_open(kubeconfig, context), namespace, name, vm, click.echo)
    else:
        offerfile.deregister(_folder(config), namespace, name, vm, click.echo)


def _vm(config: Config, given: str) -> str:
    name = given or config.node.name or socket.gethostname().partition(".")[0]
    return name.lower().replace(".", "-")


def _open(kubeconfig: Path | None, context: str) -> offercluster.Store:
    from interceptor.workload import cluster

    return cluster.open_cluster(kubeconfig, context)


def _folder(config: Config) -> Path:
    """Where this host's documents are."""
    folders = [path for path in config.mesh.files if path.is_dir()]
    if config.mesh.source != "files" or not folders:
        value = (
            f"mesh.source {config.mesh.source}, mesh.files {', '.join(map(str, config.mesh.files))}"
        )
        legal = "a folder of mesh.files; or --kubeconfig; or --print, for whoever applies it"
        raise ConfigError([Problem("(configuration)", "mesh.files", value, legal)])
    return folders[0]


def _check_host(config: Config, wish: Offer) -> None:
    """Raises InterceptorError where another document has the host."""
    host = assembly.load_table(config).hosts.get(wish.host)
    own = f"ServiceEntry {wish.namespace}/{wish.name} ("
    if host is not None and not host.origin.startswith(own):
        raise InterceptorError(f"{wish.host} is there already, by {host.origin}: give it a --host")
