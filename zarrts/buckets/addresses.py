"""From an address, such as s3://lab/study.zarr, and options to a client of its bucket.

Options are fsspec's words, or those of obstore, which does the work. Credentials come from the
options, the environment, or the files that the tools of a provider keep; they are handed on to
obstore, and appear in no message.
"""

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zarrts.buckets.aws_profiles import find_profile, provider_of
from zarrts.buckets.connections import WORDS, certificates_of_environment, take_connection
from zarrts.errors import PlanError
from zarrts.lists import listed

_CONNECT_TIMEOUT = "10s"
_SCHEMES = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "abfs": "az",
    "http": "http",
    "https": "http",
    "memory": "memory",
}
# Several names of one kind of address.
_SAME = {"s3a": "s3", "gcs": "gs", "abfs": "az"}
# fsspec's name: what obstore calls it.
_WORDS: Mapping[str, Mapping[str, str]] = {
    "s3": {
        "key": "access_key_id",
        "secret": "secret_access_key",
        "token": "session_token",
        "endpoint_url": "endpoint",
        "anon": "skip_signature",
        "region_name": "region",
        "requester_pays": "request_payer",
        "aws_access_key_id": "access_key_id",
        "aws_secret_access_key": "secret_access_key",
        "aws_session_token": "session_token",
    },
    "gs": {"anon": "skip_signature", "endpoint_url": "base_url"},
    "az": {"anon": "skip_signature", "endpoint_url": "endpoint", "sas_token": "sas_key"},
    "http": {},
    "memory": {},
}
_OWN_WORDS = {
    "s3": {
        *("access_key_id", "secret_access_key", "session_token", "endpoint", "region"),
        *("skip_signature", "request_payer", "virtual_hosted_style_request", "conditional_put"),
        *("server_side_encryption", "sse_kms_key_id", "unsigned_payload", "checksum_algorithm"),
        "disable_bulk_delete",
    },
    "gs": {"skip_signature", "base_url", "service_account", "service_account_key"}
    | {"service_account_path", "application_credentials"},
    "az": {"account_name", "account_key", "sas_key", "endpoint", "skip_signature", "client_id"}
    | {"client_secret", "tenant_id", "use_emulator", "use_fabric_endpoint"},
    "http": set[str](),
    "memory": set[str](),
}
_SPECIAL = {
    "s3": {"client_kwargs", "config_kwargs", "profile", "verify"},
    "gs": {"token"},
    "az": {"connection_string"},
}
# The objects of memory:// live as long as the process, whoever opens them, as in fsspec.
_MEMORY: dict[str, Any] = {}


@dataclass(frozen=True)
class Address:
    """A bucket, and how it is reached.

    Attributes
    ----------
    kind : str
        "s3", "gs", "az", "http" or "memory".
    url : str
        Of the bucket, without a slash at the end; what is in it is named by what follows.
    options : dict
        As the user gave them; in no representation, because they may be secret.
    """

    kind: str
    url: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def bucket(self) -> str:
        """Name of the bucket, or the host."""
        return self.url.partition("://")[2]


def is_address(place: object) -> bool:
    """Return whether a text is an address, and not a path of this machine's."""
    return isinstance(place, str) and re.match(r"[A-Za-z][A-Za-z0-9+.]+://", place) is not None


def is_known(scheme: str) -> bool:
    """Return whether obstore has an answer for a scheme."""
    return scheme.lower() in _SCHEMES


def options_for(place: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options of one address out of those of several.

    Parameters
    ----------
    options : mapping, optional
        Options of every address; or, under the start of an address such as "s3://raw", a mapping
        of options for addresses that start so, in the place of all others.

    Raises
    ------
    PlanError
        If there is no mapping under the start of an address.
    """
    starts: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in (options or {}).items():
        (starts if "://" in name else others)[name] = value
    for start, value in starts.items():
        if not isinstance(value, Mapping):
            raise PlanError(f"storage_options[{start!r}] has to be a mapping of options.")
    own = [it for it in starts if _begins_with(place, it)]
    return dict(starts[max(own, key=len)] if own else others)


def warn_of_unused(options: Mapping[str, Any] | None, places: Iterable[object]) -> None:
    """Warn of each start of an address that none of some addresses (and paths) begins with.

    The options under it are for nobody, which is a slip more often than not.
    """
    addresses = sorted({str(it) for it in places if is_remote(it)})
    for start in options or {}:
        if "://" in start and not any(_begins_with(it, start) for it in addresses):
            warnings.warn(
                f"storage_options[{start!r}] is for none of the addresses in use "
                f"({listed(addresses, 3)}); correct it, or leave it out.",
                stacklevel=4,
            )


def _begins_with(place: str, start: str) -> bool:
    """Return whether an address is the one that another one is, or lies below it.

    s3a:// is s3:// by another name, and so on.
    """
    place, start = _same(place), _same(start)
    if start.endswith("://"):
        return place.startswith(start)
    return f"{place.rstrip('/')}/".startswith(f"{start.rstrip('/')}/")


def _same(place: str) -> str:
    scheme, colon, rest = place.partition("://")
    return f"{_SAME.get(scheme.lower(), scheme.lower())}{colon}{rest}"


def local_path(place: str) -> Path | None:
    """Return the path that a file:// address stands for; None for any other."""
    scheme, _, rest = place.partition("://")
    if scheme.lower() != "file":
        return None
    # file:///C:/study.zarr names a drive of Windows.
    return Path(rest[1:] if re.match(r"/[A-Za-z]:", rest) else rest)


def is_remote(place: object) -> bool:
    """Return whether a text is an address of something elsewhere."""
    return is_address(place) and local_path(str(place)) is None


def parse_address(place: str, options: Mapping[str, Any] | None = None) -> tuple[Address, str]:
    """Return the bucket of an address, and the key of what is in it.

    Raises
    ------
    PlanError
        If the address names no kind of bucket that is known, or an option is unknown.
    """
    scheme, _, rest = place.partition("://")
    kind = _SCHEMES.get(scheme.lower())
    if kind is None:
        known = ", ".join(f"{it}://" for it in ("s3", "gs", "az", "http", "https", "file"))
        raise PlanError(
            f"{scheme}:// is no place for a store, which is published by replacing one object only "
            "if it is as it was; the address of a store starts with "
            f"{known} or memory://. Source files can be read from what fsspec knows."
        )
    bucket, _, key = rest.partition("/")
    if "@" in bucket and kind != "az":
        raise PlanError(
            f"{scheme}://...@{bucket.rpartition('@')[2]}/{key}: an address holds no credentials, "
            "because it is shown and kept; give them as storage_options, or in the environment."
        )
    if "?" in key and kind == "http":
        raise PlanError(
            f"{place.partition('?')[0]}?...: a store is many files, and an address with a query "
            "names one; leave out what follows the question mark."
        )
    bucket = bucket.partition("@")[0]
    if not bucket:
        raise PlanError(f"{place} names no bucket; write {scheme}://BUCKET/study.zarr.")
    address = Address(kind, f"{scheme.lower()}://{bucket}", options_for(place, options))
    translated(address)
    parts = [part for part in key.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise PlanError(f"{place}: a bucket has no folder above another; write it without '..'.")
    return address, "/".join(parts)


def translated(address: Address) -> dict[str, Any]:
    """Return the options of an address in the words of obstore.

    Those of how to connect are "client_options", where there are any; of a profile whose
    credentials have to be asked for, "profile" is what it says.

    Raises
    ------
    PlanError
        If an option is unknown. Its value is not shown.
    """
    kind, found = address.kind, dict[str, Any]()
    options = dict(address.options)
    if kind == "s3":
        options |= options.pop("client_kwargs", None) or {}
    if kind != "memory":
        connection = take_connection(options, kind)
        found |= {"client_options": connection} if connection else {}
    if kind == "gs" and "token" in options:
        token = options.pop("token")
        found |= {"skip_signature": True} if token == "anon" else {"service_account_path": token}
    if kind == "az" and "connection_string" in options:
        options |= _parts_of_connection(options.pop("connection_string"))
    profile = options.pop("profile", None) if kind == "s3" else None
    for name, value in options.items():
        word = _WORDS[kind].get(name, name)
        if word not in _OWN_WORDS[kind]:
            known = sorted({*_WORDS[kind], *_OWN_WORDS[kind], *_SPECIAL.get(kind, ()), *WORDS})
            raise PlanError(
                f"{address.url}: the storage option {name!r} is unknown; known are "
                f"{', '.join(known) or 'none'}."
            )
        if value is not None:
            found[word] = value
    if kind == "s3" and not {"access_key_id", "skip_signature"} & found.keys():
        there = find_profile(profile)
        if there is not None:
            found = {**there.options, **found}
            found |= {"profile": there} if there.asked_by else {}
    return found


def _parts_of_connection(text: str) -> dict[str, Any]:
    names = {"AccountName": "account_name", "AccountKey": "account_key"}
    names |= {"BlobEndpoint": "endpoint", "SharedAccessSignature": "sas_token"}
    parts = (part.partition("=") for part in text.split(";") if part)
    return {names[name]: value for name, _, value in parts if name in names}


def make_client(address: Address, n_minutes: int = 1) -> Any:
    """Return an obstore client of a bucket, which tries a request once, for some minutes.

    Raises
    ------
    ImportError
        Naming the extra, if obstore is not there.
    """
    try:
        from obstore import exceptions, store
    except ImportError as error:
        raise ImportError(
            f"{address.url} needs obstore: python -m pip install 'zarrts[cloud]'"
        ) from error
    if address.kind == "memory":
        return _MEMORY.setdefault(address.bucket, store.MemoryStore())
    found = translated(address)
    is_plain = str(found.get("endpoint", "")).startswith("http://")
    # Plain http is used only where an endpoint says so.
    client = {
        "allow_http": True,
        "timeout": f"{60 * n_minutes}s",
        "connect_timeout": _CONNECT_TIMEOUT,
        **({} if is_plain else certificates_of_environment(address.kind)),
        **found.pop("client_options", {}),
    }
    if n_minutes > 1:  # while a large object is sent, nothing is read
        client.pop("read_timeout", None)
    profile = found.pop("profile", None)
    if profile is not None:
        found["credential_provider"] = provider_of(profile)
    more: dict[str, Any] = {
        "client_options": client,
        "retry_config": {"max_retries": 0},
        **found,
    }
    try:
        if address.kind == "http":
            return store.HTTPStore.from_url(address.url, **more)
        if address.kind == "gs":
            return store.GCSStore(address.bucket, **more)
        if address.kind == "az":
            return store.AzureStore(container_name=address.bucket, **more)
        # What arrives damaged is refused by this; not every server looks at the signature's own
        # digest. Objects are deleted one by one, and not every server knows another way.
        known = {"checksum_algorithm": "sha256", "disable_bulk_delete": True}
        return store.S3Store(address.bucket, **{**known, **more})
    # It quotes what it was given.
    except (exceptions.BaseError, TypeError, ValueError) as error:
        raise PlanError(
            f"{address.url}: obstore cannot make use of one of the storage options "
            f"{', '.join(sorted(address.options)) or '(of the environment)'} "
            f"({type(error).__name__}); docs/buckets.md says what each takes."
        ) from None
