"""aiohttp as it is imported: nothing is read for its client, and the environment stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

LOOK = """
import gc, json, os, ssl
from interceptor.debug.web import web
contexts = [one for one in gc.get_objects() if isinstance(one, ssl.SSLContext)]
print(json.dumps({
    "serves": hasattr(web, "AppRunner"),
    "authorities": sum(one.cert_store_stats()["x509"] for one in contexts),
    "file": os.environ.get("SSL_CERT_FILE"), "folder": os.environ.get("SSL_CERT_DIR"),
}))
"""


@pytest.mark.parametrize("file", [None, "/etc/authorities.pem"])
def test_no_authority_is_read_and_the_environment_is_as_before(file: str | None) -> None:
    environment = {key: value for key, value in os.environ.items() if "SSL_CERT" not in key}
    if file is not None:
        environment["SSL_CERT_FILE"] = file
    argv = [sys.executable, "-c", LOOK]
    said = subprocess.run(argv, env=environment, capture_output=True, check=True, timeout=60)
    assert json.loads(said.stdout) == {
        "serves": True,
        "authorities": 0,
        "file": file,
        "folder": None,
    }
