"""The buckets and servers that source files are in, each opened once."""

import posixpath
import urllib.parse
from collections.abc import Mapping
from typing import Any

from zarrts.buckets.addresses import (
    is_known,
    options_for,
    parse_address,
    warn_of_unused,
)
from zarrts.buckets.filesystem import FileSystem, check_scheme
from zarrts.buckets.remote_file import Remote
from zarrts.buckets.source_bucket import SourceBucket
from zarrts.errors import PlanError

_NAMES_BEFORE_AT = ("github", "gitlab")  # where what is before the @ is no password


class Mounts:
    """From addresses to who answers for them, with one set of options; lives for one search.

    Parameters
    ----------
    options : mapping, optional
        Storage options; see `options_for`.
    """

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        self.options = options
        self._remotes: dict[str, Remote] = {}
        self._places: set[str] = set()

    def warn_of_unused(self, store: object) -> None:
        """Warn of options for what neither an address so far, nor that of a store begins with."""
        warn_of_unused(self.options, [*self._places, store])

    def at(self, place: str) -> tuple[Remote, str]:
        """Return who answers for an address, and the key of what is there.

        Raises
        ------
        PlanError
            If the address or an option is unknown, or there are credentials in the address.
        """
        self._places.add(place.partition("?")[0])
        scheme, _, rest = place.partition("://")
        host, _, key = rest.partition("/")
        if ".." in key.split("/"):
            key = posixpath.normpath(key)
            place = f"{scheme}://{host}/{key}"
        if "?" in key and scheme.lower() in ("http", "https"):
            raise PlanError(
                f"{place.partition('?')[0]}?...: an address with a query may hold a secret, and "
                "addresses are shown and kept; copy the file to a folder first."
            )
        if is_known(scheme):
            address, key = parse_address(place, self.options)
            if address.kind == "http":
                key = urllib.parse.unquote(key)
            if address.url not in self._remotes:
                self._remotes[address.url] = SourceBucket(address)
            return self._remotes[address.url], key
        check_scheme(scheme.lower())
        if ":" in host.rpartition("@")[0] and scheme.lower() not in _NAMES_BEFORE_AT:
            raise PlanError(
                f"{scheme}://...@{host.rpartition('@')[2]}/{key}: an address holds no password, "
                "because it is shown and kept; give it as storage_options."
            )
        root = f"{scheme.lower()}://{host}"
        if root not in self._remotes:
            self._remotes[root] = FileSystem(root, options_for(place, self.options))
        return self._remotes[root], "/".join(part for part in key.split("/") if part)
