"""What Wireshark is told; Wireshark itself reads it in tests/netns/test_e2e_capture.py."""

from __future__ import annotations

import pytest

from interceptor.debug import extcap

NEW = "Personal configuration:\t/home/me/.config/wireshark\nPersonal Extcap path:\t/home/me/x\n"
OLD = "Personal configuration:\t/home/me/.config/wireshark\nExtcap path:\t/usr/lib/x\n"


def test_sentences_have_a_word_and_fields() -> None:
    first, second = extcap.render_interfaces("1.0").splitlines()
    assert first == "extcap {version=1.0}{display=interceptor}"
    assert second.startswith("interface {value=interceptor}{display=")
    assert extcap.render_links().startswith("dlt {number=1}{name=EN10MB}")


def test_settings_are_numbered_and_are_options_of_the_command() -> None:
    lines = extcap.render_arguments().splitlines()
    assert [line.split("}")[0] for line in lines] == [
        f"arg {{number={number}" for number in range(len(extcap.ARGUMENTS))
    ]
    assert "{call=--config}" in lines[0]
    assert "{mustexist=true}" in lines[0]


def test_braces_end_no_field() -> None:
    made = extcap.Argument("--x", "a}b", "string", "{").render(0)
    assert made == "arg {number=0}{call=--x}{display=a)b}{type=string}{tooltip=(}"


@pytest.mark.parametrize(
    ("text", "folder"),
    [(NEW, "/home/me/x"), (OLD, "/home/me/.config/wireshark/extcap"), ("", "")],
)
def test_the_user_s_own_folder_is_found(text: str, folder: str) -> None:
    assert extcap.parse_folder(text) == folder


def test_lists_have_commas_or_spaces() -> None:
    assert extcap.parse_list("eth0, lo,eth1  ") == ("eth0", "lo", "eth1")
    assert extcap.parse_list("") == ()


def test_a_script_starts_us_with_what_wireshark_says() -> None:
    text = extcap.render_script(("/usr/bin/interceptor",))
    assert text.splitlines()[0] == "#!/bin/sh"
    assert text.splitlines()[-1] == "exec '/usr/bin/interceptor' extcap \"$@\""
