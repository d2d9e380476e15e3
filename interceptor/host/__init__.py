"""Thin effects on the host, one mechanism a file: commands, netlink, probes, sysctl, systemd."""
