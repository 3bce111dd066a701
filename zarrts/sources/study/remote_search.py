"""Search for files at addresses: list prefixes and match patterns, as in folders."""

import glob
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from zarrts.buckets.mounts import Mounts
from zarrts.buckets.remote_file import Entry, Remote, RemoteFile
from zarrts.errors import BucketError, SourceError
from zarrts.lists import listed
from zarrts.sources.formats.zarr_metadata import MARKS, is_ours, top_attributes
from zarrts.sources.rows.folders import Folder, RemoteFolder


@dataclass
class RemoteFinder:
    """Collects files at addresses; lives for one search.

    Attributes
    ----------
    of_systems : set of str
        Names of files that nobody wants to hear of.
    files : dict
        By address, and the address of the folder that was given.
    zarrs, zarrs_inside : dict
        The same of folders of Zarr: those that were given, and those in folders.
    zarr_folders : int
        How many stores of ours were passed over.
    bases : list of str
        Addresses of the folders that all that was given is in.
    missing, problems : list of str
    others : list of str
        Addresses of the files of other kinds.
    """

    suffixes: frozenset[str]
    of_systems: frozenset[str]
    mounts: Mounts
    files: dict[RemoteFile, str] = field(default_factory=dict)
    zarrs: dict[RemoteFile, str] = field(default_factory=dict)
    zarrs_inside: dict[RemoteFile, str] = field(default_factory=dict)
    zarr_folders: int = 0
    bases: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def add(self, given: str) -> None:
        """Look for what an address stands for: a file, a folder or a pattern.

        Raises
        ------
        SourceError
            If it is a store, or nothing can be listed there.
        BucketError
            If there is no such bucket, or it may not be read.
        """
        remote, key = self.mounts.at(given)
        try:
            if glob.has_magic(key):
                self._add_pattern(given, remote, key)
            elif not (self._is_kind(key) and self._add_file(remote, key)):
                self._add_folder(given, remote, key)
        except FileNotFoundError:
            self.missing.append(given)

    def _is_kind(self, key: str) -> bool:
        return suffix_of(key) in self.suffixes

    def _add_file(self, remote: Remote, key: str) -> bool:
        try:
            entry = remote.entry(key)
        except FileNotFoundError:
            return False
        top = key.rpartition("/")[0]
        self.bases.append(remote.url(top))
        self._keep(remote, entry, top)
        return True

    def _add_folder(self, given: str, remote: Remote, key: str) -> None:
        entries = self._list(given, remote, key)
        if not entries:
            remote.entry(key)  # or it is missing
            self.bases.append(remote.url(key.rpartition("/")[0]))
            kinds = listed(sorted(self.suffixes))
            self.problems.append((given, f"is not of a kind that can be read ({kinds})"))
            return
        start = f"{key}/" if key else ""
        if any(it.key == start + mark for it in entries for mark in MARKS):
            if is_ours(top_attributes(Folder(remote.url(key), remote, key))):
                raise SourceError(
                    f"{given}: is a store of zarrts, or a part of one; such a source needs a name "
                    "that ends with .zarr: zarrts convert s3://lab/a.zarr s3://lab/b.zarr."
                )
            top = key.rpartition("/")[0]
            self.bases.append(remote.url(top))
            self.zarrs.setdefault(RemoteFolder.below(remote, key, entries), remote.url(top))
            return
        self.bases.append(remote.url(key))
        for it in _visible(entries, start):
            self._keep(remote, it, key)
        for folder in _outermost(_zarr_folders(entries)):
            if not _is_hidden(folder[len(start) :]):
                self._keep_zarr(remote, folder, entries, key)

    def _keep_zarr(self, remote: Remote, folder: str, entries: Sequence[Entry], top: str) -> None:
        """Note a folder of Zarr; a store of ours, finished or not, is only counted."""
        if is_ours(top_attributes(Folder(remote.url(folder), remote, folder))):
            self.zarr_folders += 1
        else:
            found = RemoteFolder.below(remote, folder, entries)
            self.zarrs_inside.setdefault(found, remote.url(top))

    def _add_pattern(self, given: str, remote: Remote, key: str) -> None:
        parts = key.split("/")
        n_fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
        top = "/".join(parts[:n_fixed])
        start = f"{top}/" if top else ""
        pattern = re.compile(_expression(parts[n_fixed:]))
        entries = self._list(given, remote, top)
        # What matches is a file, or a folder that is searched.
        found = [
            (it, match.end() + len(start))
            for it in entries
            for match in [_first_match(pattern, it.key[len(start) :])]
            if match is not None
        ]
        if not found:
            self.missing.append(f"{given} (a pattern that matches nothing)")
            return
        self.bases.append(remote.url(top))
        zarrs = _zarr_folders(entries)
        for it, end in found:
            if not _is_hidden(it.key[end:]) and not _is_below(it.key, zarrs):
                self._keep(remote, it, top)
        matched = {it.key.rpartition("/")[0] for it, _ in found}
        for folder in _outermost(zarrs & matched):
            self._keep_zarr(remote, folder, entries, top)

    def _list(self, given: str, remote: Remote, key: str) -> list[Entry]:
        if not remote.can_list:
            raise SourceError(
                f"{given}: which files are there cannot be listed over http; give the address of "
                "each file, in a list or a table."
            )
        return [it for it in remote.entries(key) if not it.key.endswith("/")]

    def _keep(self, remote: Remote, entry: Entry, top: str) -> None:
        if self._is_kind(entry.key):
            self.files.setdefault(RemoteFile.of(remote, entry), remote.url(top))
        elif entry.key.rpartition("/")[2].lower() not in self.of_systems:
            self.others.append(remote.url(entry.key))


def find_remote(
    given: Iterable[str], suffixes: Iterable[str], of_systems: Iterable[str], mounts: Mounts
) -> RemoteFinder:
    """Return what was found at addresses.

    Raises
    ------
    SourceError
        If nothing can be looked up there; names what is wrong.
    """
    finder = RemoteFinder(frozenset(suffixes), frozenset(of_systems), mounts)
    for place in given:
        try:
            finder.add(place)
        except BucketError as error:
            raise SourceError(str(error)) from error
    return finder


def suffix_of(key: str) -> str:
    """Return the end of a name from its last point on, in lower case."""
    name = key.rpartition("/")[2]
    return f".{name.rpartition('.')[2]}".lower() if "." in name[1:] else ""


def common_base(bases: Sequence[str]) -> str:
    """Return what addresses of folders have in common, up to a slash."""
    parts = [base.split("/") for base in bases]
    n_same = 0
    for several in zip(*parts, strict=False):
        if len({*several}) > 1:
            break
        n_same += 1
    return "/".join(parts[0][:n_same])


def below(address: str, base: str) -> str:
    """Return an address relative to the folder that it is in."""
    return address.removeprefix(base).lstrip("/")


def _visible(entries: Sequence[Entry], start: str) -> list[Entry]:
    zarrs = _zarr_folders(entries)
    return [
        it for it in entries if not (_is_hidden(it.key[len(start) :]) or _is_below(it.key, zarrs))
    ]


def _is_hidden(path: str) -> bool:
    return path.startswith(".") or "/." in path


def _zarr_folders(entries: Sequence[Entry]) -> frozenset[str]:
    return frozenset(
        it.key.rpartition("/")[0] for it in entries if it.key.rpartition("/")[2] in MARKS
    )


def _outermost(folders: frozenset[str]) -> list[str]:
    return sorted(it for it in folders if not _is_below(it, folders))


def _is_below(key: str, folders: frozenset[str]) -> bool:
    parts = key.split("/")
    return any("/".join(parts[:i]) in folders for i in range(1, len(parts)))


def _first_match(pattern: re.Pattern[str], path: str) -> re.Match[str] | None:
    """Return the match of the path, or else of the longest folder on the way to it."""
    parts = path.split("/")
    for n_parts in range(len(parts), 0, -1):
        match = pattern.fullmatch("/".join(parts[:n_parts]))
        if match is not None:
            return match
    return None


def _expression(parts: Sequence[str]) -> str:
    """Return the regular expression of a pattern, given by its parts, as `glob` means it."""
    text = ""
    for i, part in enumerate(parts):
        is_last = i == len(parts) - 1
        if part == "**":
            text += r"(?:[^/.][^/]*/)*" + (r"[^/.][^/]*" if is_last else "")
            continue
        text += _expression_of_name(part) + ("" if is_last else "/")
    return text


def _expression_of_name(part: str) -> str:
    text, i = "" if part.startswith(".") else r"(?!\.)", 0
    while i < len(part):
        letter = part[i]
        end = part.find("]", i + 2) if letter == "[" else -1
        if letter == "*":
            text += "[^/]*"
        elif letter == "?":
            text += "[^/]"
        elif end > 0:
            inner = part[i + 1 : end].replace("\\", r"\\")
            text += f"[^/{inner[1:]}]" if inner[0] == "!" else f"[{inner}]"
            i = end
        else:
            text += re.escape(letter)
        i += 1
    return text
