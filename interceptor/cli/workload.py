"""`interceptor workload`: WorkloadGroups, and the files by which a VM joins, as of istioctl."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from interceptor.workload import bundle, carrier, group, order
from interceptor.workload.bundle import Wish
from interceptor.workload.group import Group
from interceptor.workload.order import Order

SECRET_S = 3600


@click.group()
def workload() -> None:
    """Make what a VM needs to join: its WorkloadGroup, and its bundle of files.

    Commands, options and files are those of `istioctl x workload`.
    """


@workload.group("group")
def of_group() -> None:
    """WorkloadGroups: what the VMs of a service have in common."""


@workload.group("entry")
def of_entry() -> None:
    """The files of one VM."""


def pairs(_ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """key=value, with commas between, any number of times."""
    found = {}
    for word in ",".join(given).split(","):
        key, equals, value = word.strip().partition("=")
        if word.strip() and not (key and equals):
            raise click.BadParameter(f"{word!r} is not key=value", param=param)
        if key:
            found[key.strip()] = value.strip()
    return found


def numbers(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, int]:
    """name=port, as `pairs`."""
    found = {}
    for name, value in pairs(ctx, param, given).items():
        if not value.isascii() or not value.isdigit() or not 0 < int(value) < 65536:
            raise click.BadParameter(f"{name}={value}: a port is 1 to 65535", param=param)
        found[name] = int(value)
    return found


_LIST = {"multiple": True, "metavar": "KEY=VALUE,..."}


@of_group.command()
@click.option("--name", required=True, help="Name of the WorkloadGroup.")
@click.option("-n", "--namespace", required=True, help="Its namespace.")
@click.option("-l", "--labels", callback=pairs, help="Labels of its members.", **_LIST)  # type: ignore[arg-type]
@click.option("-a", "--annotations", callback=pairs, help="Annotations of its members.", **_LIST)  # type: ignore[arg-type]
@click.option(
    "-p",
    "--ports",
    callback=numbers,
    multiple=True,
    metavar="NAME=PORT,...",
    help="Ports of the service on a member, by the protocol's name.",
)
@click.option(
    "-s",
    "--serviceAccount",
    "service_account",
    default="default",
    show_default=True,
    help="Whom members prove to be.",
)
@click.option("--network", default="", help="Istio network of the members.")
@click.option("--locality", default="", help="region/zone/subzone of the members.")
@click.option(
    "-w", "--weight", type=click.IntRange(0), default=0, help="Of a member, in load balancing."
)
def create(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    ports: Mapping[str, int],
    service_account: str,
    network: str,
    locality: str,
    weight: int,
) -> None:
    """Print a WorkloadGroup as YAML.

    \b
    interceptor workload group create --name shop -n vm -p http=8080 | kubectl apply -f -
    """
    made = Group(
        name,
        namespace,
        labels=labels,
        annotations=annotations,
        ports=ports,
        service_account=service_account,
        network=network,
        locality=locality,
        weight=weight,
    )
    click.echo(group.render(made), nl=False)


_file = click.Path(path_type=Path, dir_okay=False)
_switch = {"is_flag": False, "flag_value": "true", "type": click.BOOL}


@of_entry.command()
@click.option("-f", "--file", type=_file, help="WorkloadGroup, instead of the cluster's.")
@click.option("--name", default="", help="Name of the WorkloadGroup.")
@click.option("-n", "--namespace", default="", help="Its namespace.")
@click.option(
    *("-o", "--output"), type=click.Path(path_type=Path), required=True, help="Folder to write to."
)
@click.option("--clusterID", "cluster_id", default="", help="Of the cluster [default: its own].")
@click.option(
    "--tokenDuration",
    "lifetime_s",
    type=click.IntRange(600),
    default=SECRET_S,
    show_default=True,
    help="Life of the token, in seconds.",
)
@click.option(
    "--ingressService",
    "ingress_service",
    default="istio-eastwestgateway",
    show_default=True,
    help="Service that leads to istiod from outside.",
)
@click.option("--ingressIP", "ingress_ip", default="", help="Its address, or name, instead.")
@click.option(
    "--autoregister",
    default="false",
    help="The VM registers itself with the group.",
    **_switch,  # type: ignore[arg-type]
)
@click.option(
    "--capture-dns",
    default="true",
    help="The VM's DNS is captured.",
    **_switch,  # type: ignore[arg-type]
)
@click.option("--internalIP", "internal_ip", default="", help="The VM's address.")
@click.option("--externalIP", "external_ip", default="", help="The VM's address outside.")
@click.option("-c", "--kubeconfig", type=_file, help="Configuration of the cluster.")
@click.option("--context", default="", help="Of that configuration.")
@click.option(
    "-i", "--istioNamespace", "istio_namespace", default="istio-system", show_default=True
)
@click.option("-r", "--revision", default="", help="Of the control plane.")
@click.option("--root-cert", type=_file, help="Without a cluster: the mesh's root certificate.")
@click.option("--token", default="", help="Without a cluster: the token; others see it in `ps`.")
@click.option("--token-file", type=_file, help="Without a cluster: a file with the token.")
@click.option("--discovery-address", default="", help="HOST:PORT of istiod.")
@click.option("--mesh-config", type=_file, help="Without a cluster: MeshConfig as YAML.")
@click.option(
    "--authority", default="", help="HOST:PORT of `interceptor authority`, if not istiod."
)
@click.option(
    "--documents",
    type=click.Path(path_type=Path, file_okay=False),
    help="Without istiod: folder of the mesh's documents, which go with the bundle.",
)
def configure(**given: object) -> None:
    """Write the files by which a VM joins: cluster.env, mesh.yaml, root-cert.pem, istio-token,
    hosts.

    By a cluster's API, or offline: then --file, --root-cert and --token-file are needed, and
    --discovery-address, or for a site without istiod --documents. The folder is closed to
    everybody else; `interceptor join` on the VM takes it, as does Istio's own agent.
    """
    wish = Order(**given)  # type: ignore[arg-type]
    found, plane = order.observe(wish)
    files = bundle.build(
        found,
        plane,
        Wish(wish.capture_dns, wish.autoregister, wish.internal_ip, wish.external_ip),
    )
    carrier.apply(wish.output, files)
    click.echo(f"{found.name} in {found.namespace}: {len(files)} files in {wish.output}")
    if plane.discovery and not plane.ingress:
        click.echo(
            f"warning: nothing leads to {plane.host} from outside (--ingressService, --ingressIP): "
            "the VM's own DNS has to know that name",
            err=True,
        )
    click.echo(f"on the VM: interceptor join {wish.output.name}")
