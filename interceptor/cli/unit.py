"""`interceptor unit`: the systemd unit, for an interceptor that no package installed."""

from __future__ import annotations

import sys
from pathlib import Path

import click

SOURCE = Path(__file__).with_name("interceptor.service")
PLACE = "@PROGRAM@"
HOMES = ("/home/", "/root/")


def choose(argv0: str, executable: str) -> str:
    """How systemd starts this program: by its own absolute path, else as a module."""
    if Path(argv0).name == "interceptor" and Path(argv0).is_file():
        return str(Path(argv0).absolute())
    return f"{executable} -m interceptor"


def render(program: str) -> str:
    """The unit that runs ``program``, which it has to see, wherever it is."""
    text = SOURCE.read_text().replace(PLACE, program)
    if program.startswith(HOMES):
        text = text.replace("\nProtectHome=yes\n", "\nProtectHome=read-only\n")
    return text


def own_program() -> str:
    """This very program, as systemd is to start it."""
    return choose(sys.argv[0], sys.executable)


@click.command()
def unit() -> None:
    """Print the systemd unit that runs this very program.

    The Debian package has it installed; from a checkout:
    interceptor unit >/etc/systemd/system/interceptor.service
    """
    click.echo(render(own_program()), nl=False)
