"""`interceptor extcap`: Wireshark captures through this. People call it to install it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import interceptor
from interceptor.cli import option
from interceptor.config import Config
from interceptor.debug import extcap as words
from interceptor.debug.selection import Selection
from interceptor.errors import InterceptorError
from interceptor.host import command, packetfilter

NAME = "interceptor-extcap"
_SCRIPT_MODE = 0o755
_FOLDERS = ("tshark", "-G", "folders")


@click.command(hidden=True)
@click.option("--extcap-interfaces", "asks_interfaces", is_flag=True)
@click.option("--extcap-dlts", "asks_links", is_flag=True)
@click.option("--extcap-config", "asks_settings", is_flag=True)
@click.option("--capture", "captures", is_flag=True)
@click.option("--extcap-version", "_version", expose_value=False)
@click.option("--extcap-interface", "interface", default=words.INTERFACE)
@click.option("--extcap-capture-filter", "expression", default="")
@click.option("--fifo", type=click.Path(path_type=Path))
@click.option("--links", default="")
@click.option("--names", default="")
@click.option("--services", default="")
@click.option("--all", "everything", is_flag=True)
@click.option("--install", "installs", is_flag=True, help="Put it into Wireshark's folder.")
@click.option("--folder", type=click.Path(path_type=Path), help="Another folder to install to.")
@option.configured
def extcap(
    config: Config,
    asks_interfaces: bool,
    asks_links: bool,
    asks_settings: bool,
    captures: bool,
    interface: str,
    expression: str,
    fifo: Path | None,
    links: str,
    names: str,
    services: str,
    everything: bool,
    installs: bool,
    folder: Path | None,
) -> None:
    """Wireshark's side door (extcap(4)); `--install` makes `interceptor` one of its interfaces."""
    if interface != words.INTERFACE:
        raise click.UsageError(f"no interface {interface}; legal: {words.INTERFACE}")
    if installs:
        click.echo(f"installed {install(folder)}")
    elif asks_interfaces:
        click.echo(words.render_interfaces(interceptor.__version__))
    elif asks_links:
        click.echo(words.render_links())
    elif asks_settings:
        click.echo(words.render_arguments())
    elif captures and fifo is not None:
        wanted = Selection(names=words.parse_list(names), services=words.parse_list(services))
        _capture(config, fifo, (words.parse_list(links), expression, everything), wanted)
    elif expression:
        _judge(expression)
    else:
        raise click.UsageError("nothing asked for; legal: --install, or what Wireshark asks")


def _judge(expression: str) -> None:
    """Wireshark asks whether it is a filter; nothing said means yes."""
    try:
        packetfilter.build(expression, packetfilter.ETHERNET, 96)
    except InterceptorError as error:
        click.echo(str(error))


def _capture(
    config: Config, fifo: Path, wish: tuple[tuple[str, ...], str, bool], wanted: Selection
) -> None:
    """``wish``: links, filter, whether everything is kept."""
    from interceptor.cli.capture import record
    from interceptor.debug.pcapfile import Ring
    from interceptor.recording import Bounds
    from interceptor.tap import LARGEST, Wish

    links, expression, everything = wish
    taken = Wish(links, expression, LARGEST, everything)
    record(config, taken, wanted, (fifo, Ring()), (Bounds(), False))


def install(folder: Path | None) -> Path:
    """Write the program that Wireshark starts. Raises InterceptorError where it has no folder."""
    if folder is None:
        told = words.parse_folder(command.run(_FOLDERS, check=False).stdout)
        if not told:
            raise InterceptorError(
                "no folder of Wireshark's is known (no tshark here); name one with --folder: "
                "Wireshark lists it under Help, About, Folders, Personal Extcap path"
            )
        folder = Path(told)
    script = Path(sys.executable).with_name("interceptor")
    argv = (str(script),) if script.exists() else (sys.executable, "-m", "interceptor")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    path.write_text(words.render_script(argv))
    path.chmod(_SCRIPT_MODE)
    return path
