"""Options of connections to servers: certificates, timeouts and proxies, by any of their names.

fsspec's S3 takes them in boto's words, under `client_kwargs` and `config_kwargs`; obstore, which
does the work, has its own.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zarrts.errors import PlanError

WORDS = frozenset(
    {
        *("allow_invalid_certificates", "connect_timeout", "proxy_ca_certificate"),
        *("proxy_excludes", "proxy_url", "read_timeout", "root_certificate", "user_agent"),
    }
)
_BOTOCORE_WORDS = {
    "connect_timeout": "connect_timeout",
    "read_timeout": "read_timeout",
    "user_agent": "user_agent",
}
_CERTIFICATES = ("root_certificate", "proxy_ca_certificate")
_TIMEOUTS = ("connect_timeout", "read_timeout")


def take_connection(options: dict[str, Any], kind: str) -> dict[str, Any]:
    """Remove from options what says how to connect, and return it in the words of obstore.

    Parameters
    ----------
    options : dict
        Of which the others stay.
    kind : str
        Of address; the words of boto are for "s3".

    Raises
    ------
    PlanError
        If a file of certificates is missing, or a word is unknown; no value is shown.
    """
    found = dict(options.pop("client_options", None) or {})
    if kind == "s3":
        found |= _of_botocore(options.pop("config_kwargs", None) or {})
        if "verify" in options:
            verify = options.pop("verify")
            if isinstance(verify, str) and verify.lower() not in ("false", "true"):
                found["root_certificate"] = verify
            elif verify is not None:
                found["allow_invalid_certificates"] = str(verify).lower() == "false"
    found |= {name: options.pop(name) for name in WORDS & options.keys()}
    unknown = sorted(found.keys() - WORDS)
    if unknown:
        raise PlanError(
            f"the client option {unknown[0]!r} is unknown; known are {', '.join(sorted(WORDS))}."
        )
    for name in _CERTIFICATES:
        if name in found:
            found[name] = _certificates(name, found[name])
    for name in _TIMEOUTS:
        if name in found:
            found[name] = _duration(found[name])
    return {name: value for name, value in found.items() if value is not None}


def certificates_of_environment(kind: str) -> dict[str, Any]:
    """Return the certificates that AWS_CA_BUNDLE names, for S3, in the words of obstore."""
    path = os.environ.get("AWS_CA_BUNDLE") if kind == "s3" else None
    return {"root_certificate": _certificates("AWS_CA_BUNDLE", path)} if path else {}


def _of_botocore(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the settings of botocore's Config mean; those of its own retries mean nothing."""
    found = {_BOTOCORE_WORDS[name]: config[name] for name in _BOTOCORE_WORDS.keys() & config}
    proxies = config.get("proxies") or {}
    if proxies:
        found["proxy_url"] = proxies.get("https") or proxies.get("http")
    return found


def _certificates(name: str, given: Any) -> Any:
    """Return certificates as PEM; given as that, as text or bytes, or as the path of a file."""
    if given is None or isinstance(given, bytes) or "-----BEGIN" in str(given):
        return given
    try:
        return Path(given).expanduser().read_bytes()
    except OSError as error:
        raise PlanError(
            f"{name}: the file of certificates {str(given)!r} cannot be read ({error.strerror})."
        ) from error


def _duration(given: Any) -> Any:
    """Return a time as obstore has it: a number, or a text of one, counts seconds."""
    try:
        return f"{float(given) * 1000:.0f}ms"
    except (TypeError, ValueError):
        return given
