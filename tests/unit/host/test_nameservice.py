"""resolv.conf's options, nsswitch.conf, resolved.conf with its drop-ins."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from interceptor.host import nameservice


def test_options_add_up() -> None:
    text = "options ndots:5 use-vc\nnameserver 1.2.3.4\noptions trust-ad\n"
    assert nameservice.parse_options(text) == ("ndots:5", "use-vc", "trust-ad")


def test_the_hosts_line_keeps_its_actions_whole() -> None:
    text = "passwd: files\nhosts: files resolve [!UNAVAIL=return  TRYAGAIN=x] dns # end\n"
    assert nameservice.parse_hosts(text) == (
        "files",
        "resolve",
        "[!UNAVAIL=return  TRYAGAIN=x]",
        "dns",
    )
    assert nameservice.parse_hosts("") == ("dns", "[!UNAVAIL=return]", "files")


def test_only_the_resolve_section_counts_and_lists_add_up() -> None:
    first = "[Other]\nDNSOverTLS=yes\n[Resolve]\n#DNSOverTLS=no\nDNS=1.1.1.1\nDomains=~a\n"
    second = "[Resolve]\nDNSOverTLS = opportunistic\nDNS=9.9.9.9\nDomains=\nDomains=~b\n"
    assert nameservice.parse_resolved([first, second]) == {
        "DNS": "1.1.1.1 9.9.9.9",
        "Domains": "~b",
        "DNSOverTLS": "opportunistic",
    }


def test_links_with_a_word_of_their_own_are_named() -> None:
    text = "Global: no\nLink 2 (eth0): no\nLink 3 (wg0): yes\n"
    assert nameservice.parse_link_words(text) == ("wg0 (yes)",)


def test_a_drop_in_in_etc_hides_one_of_the_same_name(tmp_path: Path) -> None:
    for folder, name, text in (
        ("usr/lib", "a.conf", "[Resolve]\nDNSOverTLS=yes\n"),
        ("etc", "a.conf", "[Resolve]\nDNSOverTLS=no\n"),
        ("run", "b.conf", "[Resolve]\nDNSSEC=yes\n"),
    ):
        place = tmp_path / folder / "systemd/resolved.conf.d"
        place.mkdir(parents=True)
        (place / name).write_text(text)
    socket = tmp_path / "run/systemd/resolve/io.systemd.Resolve"
    socket.parent.mkdir()
    socket.touch()
    (tmp_path / "etc/nsswitch.conf").write_text("hosts: resolve dns\n")
    real = tmp_path / "run/systemd/resolve/stub-resolv.conf"
    real.write_text("nameserver 127.0.0.53\nsearch corp.example\n")
    link = tmp_path / "etc/resolv.conf"
    link.symlink_to(real)
    seen = nameservice.observe(link, tmp_path)
    assert seen.servers == (ip_address("127.0.0.53"),)
    assert (seen.search, seen.target, seen.hosts) == (
        ("corp.example",),
        str(real),
        ("resolve", "dns"),
    )
    assert seen.resolved.runs
    assert (seen.resolved.over_tls, seen.resolved.dnssec) == ("no", "yes")


def test_a_host_without_any_of_it_is_read_as_glibc_would(tmp_path: Path) -> None:
    seen = nameservice.observe(tmp_path / "none", tmp_path)
    assert (seen.servers, seen.resolved.runs, seen.has_nscd) == ((), False, False)
