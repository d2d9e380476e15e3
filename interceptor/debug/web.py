"""aiohttp's server, imported without what its client would want.

That reads the host's certificate authorities, twice, for connections that nobody makes here: a
tenth of the time that the daemon takes to start.
"""

from __future__ import annotations

import os

_PLACES = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # of OpenSSL's X509_get_default_cert_file_env(3)

_before = {name: os.environ.get(name) for name in _PLACES}
os.environ.update(dict.fromkeys(_PLACES, os.devnull))
try:
    from aiohttp import web
finally:
    for _name, _value in _before.items():
        if _value is None:
            del os.environ[_name]
        else:
            os.environ[_name] = _value

__all__ = ["web"]
