"""Secrets of every shape are taken out; what only looks a little like one stays."""

from __future__ import annotations

import base64
import json
import string
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.debug.redact import REMOVED, Redaction, looks_random, names_secret

SECRET = st.text(string.ascii_letters + string.digits + "_-.+/=~!#$%^*@:?", min_size=8).filter(
    # A leading sign is an option's, a trailing one a sentence's; and it must be seen if it stays.
    lambda s: s[0] in string.ascii_letters and s[-1].isalnum() and s not in "".join(SHAPES.values())
)
ANY = st.text(min_size=6, max_size=80).filter(
    lambda s: len(set(s.strip())) > 4 and s not in REMOVED and s == s.strip()
)
NAMES = (
    *("password", "DB_PASSWORD", "db-passwd", "passphrase", "client_secret", "clientSecret"),
    *(
        "token",
        "ACCESS_TOKEN",
        "apiKey",
        "api_key",
        "API-KEY",
        "private_key",
        "aws_secret_access_key",
    ),
    *("AWS_ACCESS_KEY_ID", "credentials", "preshared-key", "PSK", "tcp_fastopen_key"),
)
SHAPES = {
    "environment": "export {name}={secret}",
    "environment, spaced": "{name} = {secret}",
    "YAML": "outer:\n  {name}: {secret}\n  next: 1",
    "YAML, quoted": 'outer:\n  - "{name}": "{secret}"',
    "YAML, a block": "{name}: |-\n  {secret}\n  {secret}\nnext: 1",
    "JSON": '{{"a": 1, "{name}": "{secret}", "b": 2}}',
    "JSON in JSON": '{{"log": "got {{\\"{name}\\": \\"{secret}\\"}} there"}}',
    "a line of a log": "level=info {name}={secret} next=1",
    "an option": "run --{name} {secret} --next 1",
    "an option with a sign": "run --{name}={secret} --next 1",
    "a query": "GET /path?{name}={secret}&next=1",
    "a header": "> Authorization: Bearer {secret}",
    "a header in JSON": '{{"authorization": "Basic {secret}"}}',
    "a word of curl": "curl -s -u somebody:{secret} https://h.example/",
    "a cookie": "Set-Cookie: session={secret}; Path=/",
    "the head of a key": "-----BEGIN EC PRIVATE KEY-----\n{secret}\n-----END EC PRIVATE KEY-----",
    "a key without an end": "-----BEGIN PRIVATE KEY-----\n{secret}\n{secret}",
    "a key in JSON": '"-----BEGIN PRIVATE KEY-----\\n{secret}\\n-----END PRIVATE KEY-----\\n"',
}
HARMLESS = (
    "outbound|9080||reviews.bookinfo.svc.cluster.local",
    "/sys/fs/bpf/interceptor/v2/links/egress-4026531840-2",
    "/sys/fs/cgroup/system.slice/systemd-networkd-wait-online.service",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    'interceptor_dns_queries_total{plane="kernel",qtype="A",result="answer"} 3',
    "envoy_http_local_rate_limit_ok 5",
    "-A OUTPUT -p udp -m udp --dport 53 -j NFQUEUE --queue-num 15053 --queue-bypass",
    "8e9b5b4f-54d9-4f53-9c1c-000000000001",
    "default via 10.77.0.1 dev eth0 proto static src 10.77.0.10 metric 100",
    "private_key_file: /etc/certs/key.pem",
    "KubernetesServiceEntryControllerManagerStatus",
    "2026-01-01T00:00:00Z info the table was loaded hosts=3 load_s=0.1",
)


@pytest.mark.parametrize("shape", SHAPES)
@given(name=st.sampled_from(NAMES), secret=SECRET)
@settings(max_examples=40, deadline=None)
def test_a_planted_secret_is_gone(shape: str, name: str, secret: str) -> None:
    redaction = Redaction()
    told = redaction.text(SHAPES[shape].format(name=name, secret=secret))
    assert secret not in told
    assert REMOVED in told
    assert redaction.count > 0


@given(name=st.sampled_from(NAMES), secret=ANY)
def test_in_a_tree_any_secret_is_gone_whatever_its_letters(name: str, secret: str) -> None:
    tree = {"a": [{"keep": "me", name: secret}, {name: {"inline_string": [secret]}}]}
    told = Redaction().tree(tree)
    assert secret not in json.dumps(told, ensure_ascii=False).replace(name, "")
    assert "keep" in yaml.safe_dump(told)


@given(st.binary(min_size=32, max_size=96))
def test_random_bytes_are_gone_even_without_a_name(data: bytes) -> None:
    word = base64.b64encode(data).decode()
    if not looks_random(word):  # what repeats itself is no key
        return
    assert word not in Redaction().text(f"found {word} there")


@pytest.mark.parametrize(
    "token",
    [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl",
        "AKIA" + "IOSFODNN7EXAMPLE",
        "ghp_" + "a1B2" * 9,
        "glpat-" + "x" * 20,
        "xoxb-" + "1234567890-abc",
        "hvs." + "CAESIJ" * 4,
    ],
)
def test_tokens_that_are_known_by_their_beginning_are_gone(token: str) -> None:
    assert token not in Redaction().text(f"see {token}, please")


def test_who_logs_in_by_an_address_is_gone_and_the_address_stays() -> None:
    told = Redaction().text("proxy http://user:pa:ss@proxy.example:3128/x and http://h.example/y")
    assert told == f"proxy http://{REMOVED}@proxy.example:3128/x and http://h.example/y"


@pytest.mark.parametrize("text", ["a" * 90_000, "token-" * 15_000, "-a" * 45_000, "\\" * 90_000])
def test_a_long_word_does_not_take_long(text: str) -> None:
    start = time.process_time()
    Redaction().text(text)
    assert time.process_time() - start < 3, "it grows faster than the text"


@pytest.mark.parametrize("text", HARMLESS)
def test_what_a_report_needs_stays(text: str) -> None:
    redaction = Redaction()
    assert redaction.text(text) == text
    assert redaction.count == 0


def test_a_text_without_secrets_is_not_touched_and_twice_is_as_once() -> None:
    text = "password: hunter22\nkey: value\n"
    once = Redaction().text(text)
    again = Redaction()
    assert again.text(once) == once
    assert again.count == 0


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("token", True),
        ("token_bucket", False),
        ("max_tokens", False),
        ("private_key", True),
        ("private_key_file", False),
        ("inline_bytes", True),
        ("name", False),
    ],
)
def test_names_tell_what_is_secret(key: str, expected: bool) -> None:
    assert names_secret(key) is expected


def test_switches_and_empty_values_stay() -> None:
    tree = {"token_required": True, "password": "", "secret": None}
    assert Redaction().tree(tree) == tree
