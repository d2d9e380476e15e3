"""What Wireshark asks of a program that captures for it, and the answers. Pure.

Sentences are those of Wireshark's extcap interface (its manual page extcap(4)): a word, then
fields in braces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

INTERFACE = "interceptor"
DISPLAY = "interceptor: packets with decisions"
ETHERNET = 1  # a DLT is asked for; the packets themselves come as pcapng, each with its own


@dataclass(frozen=True, slots=True)
class Argument:
    """One setting in Wireshark's dialogue; ``call`` is the option that it becomes. ``kind``:
    string, boolflag or fileselect."""

    call: str
    display: str
    kind: str
    tooltip: str

    def render(self, number: int) -> str:
        fields = {
            "number": str(number),
            "call": self.call,
            "display": self.display,
            "type": self.kind,
            "tooltip": self.tooltip,
        }
        if self.kind == "fileselect":
            fields["mustexist"] = "true"
        return _sentence("arg", fields)


ARGUMENTS = (
    Argument("--config", "Configuration", "fileselect", "interceptor's configuration file"),
    Argument("--links", "Links", "string", "only these links, with commas between; empty: all"),
    Argument("--names", "Names", "string", "only these names (globs), with commas between"),
    Argument("--services", "Services", "string", "only these hosts of the mesh, likewise"),
    Argument("--all", "Everything", "boolflag", "also what is neither DNS nor captured"),
)


def _sentence(word: str, fields: Mapping[str, str]) -> str:
    return f"{word} " + "".join(f"{{{key}={_plain(value)}}}" for key, value in fields.items())


def _plain(text: str) -> str:
    """Braces would end a field."""
    return text.replace("{", "(").replace("}", ")")


def render_interfaces(version: str) -> str:
    """The answer to --extcap-interfaces."""
    return "\n".join(
        (
            _sentence("extcap", {"version": version, "display": "interceptor"}),
            _sentence("interface", {"value": INTERFACE, "display": DISPLAY}),
        )
    )


def render_links() -> str:
    """The answer to --extcap-dlts."""
    fields = {"number": str(ETHERNET), "name": "EN10MB", "display": "as each packet says"}
    return _sentence("dlt", fields)


def render_arguments() -> str:
    """The answer to --extcap-config."""
    return "\n".join(each.render(number) for number, each in enumerate(ARGUMENTS))


def parse_list(text: str) -> tuple[str, ...]:
    """Words of a setting, with commas or spaces between."""
    return tuple(text.replace(",", " ").split())


def render_script(argv: tuple[str, ...]) -> str:
    """The program that Wireshark finds in its folder. ``argv`` starts interceptor."""
    words = " ".join(f"'{word}'" for word in argv)
    return f'#!/bin/sh\n# interceptor as an interface of Wireshark\nexec {words} extcap "$@"\n'


def parse_folder(text: str) -> str:
    """The user's own folder for such programs, as `tshark -G folders` tells; "" if it does not.

    Before Wireshark 4.2 it was not listed, and lay in the folder of the user's settings.
    """
    folders = {}
    for line in text.splitlines():
        name, _, path = line.partition(":")
        folders[name.strip().lower()] = path.strip()
    if own := folders.get("personal extcap path"):
        return own
    settings = folders.get("personal configuration")
    return f"{settings}/extcap" if settings else ""
