"""The manual pages, as groff reads them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from interceptor.cli import manual, reference
from interceptor.config import text
from interceptor.host import command

BACKSPACE = re.compile(".\b")  # how a terminal of paper prints bold


def shown(page: str, folder: Path) -> str:
    """The page as plain text; a word of groff's about it is a failure."""
    path = folder / page
    path.write_text(manual.PAGES[page]())
    done = command.run(
        ["groff", "-man", "-Tutf8", "-P-c", "-ww", "-rCHECKSTYLE=3", "-rLL=200n", str(path)]
    )
    assert not done.stderr
    return BACKSPACE.sub("", done.stdout).replace("‐", "-")


@pytest.mark.parametrize("page", manual.PAGES)
def test_groff_has_nothing_against_a_page(page: str, tmp_path: Path) -> None:
    name, _, section = page.rpartition(".")
    lines = shown(page, tmp_path).splitlines()
    assert lines[0].startswith(f"{name.upper()}({section})")
    assert "NAME" in lines


def test_every_command_and_option_is_in_the_manual(tmp_path: Path) -> None:
    told = shown("interceptor.8", tmp_path)
    for context in reference.commands():
        assert context.command_path in told
        for param in context.command.get_params(context):
            assert all(name in told for name in param.opts if name.startswith("--")), param.name


def test_every_key_of_the_configuration_is_in_its_page_with_its_default(tmp_path: Path) -> None:
    told = shown("interceptor.yaml.5", tmp_path)
    for key in text.environment_keys().values():
        assert f"{key}: " in told
    assert "agent.lease_s: 10\n" in told
    assert "agent.run_dir: /run/interceptor\n" in told


@pytest.mark.parametrize("line", [".SH not a heading", "'br", r"a\fBword", "--confirm -1"])
def test_text_stays_text(line: str, tmp_path: Path) -> None:
    path = tmp_path / "page"
    path.write_text(f".TH X 1\n.SH Y\n{manual.escape(line)}\n")
    done = command.run(["groff", "-man", "-Tascii", "-P-c", "-ww", str(path)])
    assert line in BACKSPACE.sub("", done.stdout)
    assert not done.stderr
