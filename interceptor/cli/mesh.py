"""`interceptor mesh`: the mesh table, from the configured source."""

from __future__ import annotations

import dataclasses
import json
from typing import cast

import click
import orjson
from rich.console import Console
from rich.table import Table

from interceptor import assembly
from interceptor.cli import option
from interceptor.config import Config
from interceptor.debug.explain import join
from interceptor.errors import ConfigError, InterceptorError, Problem
from interceptor.mesh import export as form
from interceptor.mesh.model import Host


@click.group()
def mesh() -> None:
    """Look at the mesh table."""


def _as_json(value: object) -> None:
    click.echo(orjson.dumps(value, default=form.plain, option=orjson.OPT_INDENT_2), nl=False)
    click.echo()


@mesh.command("list")
@option.nametable
@option.as_json
@option.configured
def list_hosts(config: Config, as_json: bool) -> None:
    """List every host: addresses, ports, number of endpoints."""
    table = assembly.load_table(config)
    if as_json:
        _as_json([form.summary(host) for host in table.hosts.values()])
        return
    grid = Table("host", "namespace", "kind", "addresses", "ports", "endpoints", box=None)
    for host in table.hosts.values():
        grid.add_row(
            host.name,
            host.namespace,
            host.kind.value,
            " ".join(str(address) for address in host.addresses[:3]),
            " ".join(f"{port.number}/{port.protocol.value}" for port in host.ports),
            str(len(host.endpoints)),
        )
    Console(width=None if Console().is_terminal else 10_000).print(grid)


@mesh.command()
@click.argument("name")
@option.nametable
@option.as_json
@option.configured
def show(config: Config, name: str, as_json: bool) -> None:
    """Show one host in full. NAME may be any name that it answers to."""
    table = assembly.load_table(config)
    answers = assembly.answers(config, table)
    known = answers.resolve(name, "A").host or name.rstrip(".").lower()
    host = table.hosts.get(known)
    if host is None:
        raise InterceptorError(f"no host of the mesh bears the name {name}")
    if as_json:
        _as_json(host)
        return
    _tell(host)


def _tell(host: Host) -> None:
    click.echo(f"{host.name}  {host.kind.value}, resolution {host.resolution.value}")
    click.echo(f"  from       {host.origin}")
    for address in host.addresses:
        click.echo(f"  address    {address}{' (allocated)' if host.virtual else ''}")
    for network in host.networks:
        click.echo(f"  network    {network}")
    if host.external_name:
        click.echo(f"  CNAME to   {host.external_name}")
    for port in host.ports:
        click.echo(f"  port       {port.number} {port.name} {port.protocol.value}")
        for endpoint in host.endpoints:
            state = "" if endpoint.ready else "  not ready"
            place = join(endpoint.address, endpoint.port(port))
            click.echo(f"    endpoint {place}  weight {endpoint.weight or 1}{state}")


@mesh.command()
@option.nametable
@option.as_json
@option.configured
def check(config: Config, as_json: bool) -> None:
    """Check the mesh's documents; every problem at once (exit code 2)."""
    try:
        table = assembly.load_table(config)
    except ConfigError as error:
        if not as_json:
            raise
        _report(error.problems, (), hosts=0)
        raise SystemExit(2) from error
    if as_json:
        _report((), table.warnings, hosts=len(table))
        return
    for warning in table.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{len(table)} hosts, {len(table.warnings)} warnings")


def _report(problems: tuple[Problem, ...], warnings: tuple[Problem, ...], *, hosts: int) -> None:
    tree = {
        "hosts": hosts,
        "problems": [dataclasses.asdict(item) for item in problems],
        "warnings": [dataclasses.asdict(item) for item in warnings],
    }
    click.echo(json.dumps(tree, indent=2))


@mesh.command()
@click.option(
    "--format",
    "form_name",
    type=click.Choice(["hosts", "nametable", "json"]),
    default="nametable",
    help="hosts: as /etc/hosts; nametable: as istiod's /debug/ndsz; json: everything.",
)
@option.nametable
@option.configured
def export(config: Config, form_name: str) -> None:
    """Print the whole table in a form that other programs read."""
    table = assembly.load_table(config)
    if form_name == "hosts":
        click.echo(form.hosts_file(table), nl=False)
    elif form_name == "nametable":
        _as_json(form.name_table(table))
    else:
        _as_json({"hosts": cast("list[object]", list(table.hosts.values()))})
