"""Search for files: walk folders, expand patterns, pass over what is hidden."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import PurePath

from zarrts.buckets.addresses import is_remote, local_path
from zarrts.buckets.mounts import Mounts
from zarrts.buckets.remote_file import RemoteFile
from zarrts.errors import SourceError
from zarrts.lists import listed
from zarrts.sources.formats.zarr_folders import SUFFIX
from zarrts.sources.formats.zarr_metadata import MARKS, is_ours, top_attributes
from zarrts.sources.rows.files import SourceFile
from zarrts.sources.rows.folders import Folder
from zarrts.sources.study.remote_search import RemoteFinder, below, common_base, find_remote

_COLUMNS = {".csv", ".tsv"}
_COLUMNS_REMEDY = "name the columns of such files: x=['ax', 'ay'], y='label' (--x ax,ay --y label)"
_TABLES = {".txt", ".feather", ".xlsx", ".arrow"}
_TABLE_REMEDY = (
    "read them with pandas or pyarrow, and give what is in them as zarrts.Recording('s01', x, y): "
    "examples/recording_tables.py"
)
_ZARR_REMEDY = (
    "such a store is opened with zarrts.open, or given to convert by itself: "
    "zarrts convert a.zarr b.zarr both.zarr"
)

_MAX_KINDS = 8

_OF_SYSTEMS = {"thumbs.db", "desktop.ini"}
"""Files that Windows leaves in folders; those of macOS are hidden."""


@dataclass
class Search:
    """Result of a search.

    Attributes
    ----------
    files : list of SourceFile
        In sorted order of `origin`, each once.
    problems : list of str
        One sentence for each place that could not be looked at.
    others : list of str
        Origins of the files of other kinds, sorted.
    zarr_folders : int
        How many folders of Zarr were passed over.
    """

    files: list[SourceFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    zarr_folders: int = 0

    def nothing(self, paths: Sequence[str], suffixes: Sequence[str]) -> SourceError:
        """Return the error to raise where no file can be read; says what was there instead."""
        kinds = Counter(_suffix(path) or "without suffix" for path in self.others)
        counts = [f"{count:,} {suffix}" for suffix, count in kinds.most_common()]
        if self.zarr_folders:
            counts.insert(0, f"{self.zarr_folders:,} Zarr arrays or stores")
        remedy = "give files of these kinds, or a folder that holds some"
        if self.zarr_folders:
            remedy += f"; or {_ZARR_REMEDY}"
        elif kinds.keys() & _COLUMNS:
            remedy += f"; or {_COLUMNS_REMEDY}"
        elif kinds.keys() & _TABLES:
            remedy += f"; or {_TABLE_REMEDY}"
        shown = [
            *suffixes[:_MAX_KINDS],
            *(["other readable"] if len(suffixes) > _MAX_KINDS else []),
        ]
        return SourceError(
            f"no {' or '.join(shown)} files in {listed(paths)}: "
            f"{listed(counts) or 'no files at all'}; {remedy}."
        )


class _Finder:
    """Collects files; lives for one `search`."""

    def __init__(self, suffixes: Sequence[str], follow_links: bool) -> None:
        self.suffixes = tuple(suffixes)
        self.follow_links = follow_links
        self.paths: dict[str, str] = {}  # and the folder that was given
        self.folders: set[str] = set()
        self.real_folders: set[str] = set()
        self.bases: list[str] = []
        self.missing: list[str] = []
        self.linked: list[str] = []
        self.unreadable: list[tuple[str, str]] = []
        self.others: list[str] = []
        self.zarr_folders = 0
        self.zarrs: dict[str, str] = {}  # that were given; and the folder that they are in
        self.zarrs_inside: dict[str, str] = {}

    def add(self, given: str) -> None:
        path = os.path.abspath(os.path.expanduser(given))
        if os.path.isdir(path):
            if _is_zarr(path):
                if is_ours(top_attributes(Folder(path))):
                    raise SourceError(
                        f"{given}: is a store of zarrts, or a part of one; {_ZARR_REMEDY}."
                    )
                self.bases.append(os.path.dirname(path))
                self.zarrs.setdefault(path, os.path.dirname(path))
                return
            self.bases.append(path)
            self.walk(path, path)
        elif os.path.lexists(path):
            self.bases.append(os.path.dirname(path))
            if not path.lower().endswith(self.suffixes):
                self.unreadable.append(
                    (
                        path,
                        f"is not of a kind that can be read ({listed(self.suffixes, _MAX_KINDS)})",
                    )
                )
            else:
                self.add_file(path, os.path.dirname(path))
        elif glob.has_magic(given):
            self.add_pattern(given)
        else:
            self.missing.append(given)

    def add_pattern(self, pattern: str) -> None:
        matches = sorted(glob.glob(os.path.expanduser(pattern), recursive=True))
        if not matches:
            self.missing.append(f"{pattern} (a pattern that matches nothing)")
            return
        top = _fixed_folder(pattern)
        self.bases.append(top)
        for match in map(os.path.abspath, matches):
            if os.path.isdir(match) and _is_zarr(match):
                self.add_zarr(match, top)
            elif os.path.isdir(match):
                self.walk(match, top)
            else:
                self.add_file(match, top)

    def walk(self, start: str, top: str) -> None:
        for folder, folders, file_names in os.walk(
            start, onerror=self._cannot_list, followlinks=self.follow_links
        ):
            is_zarr = any(name in file_names for name in MARKS)
            if not self._is_new(folder) or is_zarr:
                if is_zarr:
                    self.add_zarr(folder, top)
                folders.clear()
                continue
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if not self.follow_links:
                self.linked += (
                    path for name in folders if os.path.islink(path := os.path.join(folder, name))
                )
            for name in file_names:
                if not (name.startswith(".") or name.lower() in _OF_SYSTEMS):
                    self.add_file(os.path.join(folder, name), top)

    def add_zarr(self, folder: str, top: str) -> None:
        """Note a folder of Zarr; a store of ours, finished or not, is only counted."""
        if is_ours(top_attributes(Folder(folder))):
            self.zarr_folders += 1
        else:
            self.zarrs_inside.setdefault(folder, top)

    def _is_new(self, folder: str) -> bool:
        """Note a folder; a link that leads back to one that was searched ends there."""
        real = os.path.realpath(folder) if self.follow_links else folder
        if folder in self.folders or real in self.real_folders:
            return False
        self.folders.add(folder)
        self.real_folders.add(real)
        return True

    def _cannot_list(self, error: OSError) -> None:
        self.unreadable.append((str(error.filename), f"cannot be listed ({error.strerror})"))

    def add_file(self, path: str, top: str) -> None:
        if not path.lower().endswith(self.suffixes):
            self.others.append(path)
        elif os.path.isfile(path):
            self.paths.setdefault(path, top)
        else:
            self.unreadable.append((path, "is not a regular file, or a link that leads nowhere"))


def search(
    given: Iterable[str],
    suffixes: Sequence[str],
    *,
    follow_links: bool = False,
    mounts: Mounts | None = None,
) -> Search:
    """Find all files with one of `suffixes` in the paths, folders and patterns `given`.

    They are paths, or addresses, for which `mounts` says how they are reached.

    Folders are searched to the bottom. A folder of Zarr is one file: one that is given, or where
    there are no files of other kinds. Passed over: names that start with ".", stores of zarrts, and
    links to folders inside what is searched (so that a loop of links ends). A link to a folder
    elsewhere is a problem, since nothing is left out in silence; with `follow_links` it is
    searched, once.

    Raises
    ------
    SourceError
        If a path does not exist, or a pattern matches nothing; names all of them.
    """
    finder = _Finder(suffixes, follow_links)
    addresses: list[str] = []
    for path in given:
        if is_remote(path):
            addresses.append(path)
        else:
            finder.add(str(local_path(path) or path))
    if addresses:
        if finder.bases or finder.missing:
            raise SourceError(
                f"{addresses[0]}: is an address, and others are paths; give either, or convert "
                "one and append the other."
            )
        return _at_addresses(find_remote(addresses, suffixes, _OF_SYSTEMS, mounts or Mounts()))
    if finder.missing:
        raise SourceError(f"not found: {listed(finder.missing)}; check the spelling.")
    if not finder.bases:
        return Search()
    try:
        base = os.path.commonpath(finder.bases)
    except ValueError as error:
        raise SourceError(
            f"{listed(finder.bases)}: are on different drives; convert from one."
        ) from error
    problems = [f"{_origin(path, base)}: {reason}." for path, reason in finder.unreadable]
    problems += _links_elsewhere(finder, base)
    origin_in = _Origins()
    found = [
        SourceFile(path, origin_in(path, base), origin_in(path, top))
        for path, top in finder.paths.items()
    ]
    zarrs = dict(finder.zarrs)
    if not found:  # among files of other kinds, arrays of Zarr are somebody's copy of them
        zarrs |= {path: top for path, top in finder.zarrs_inside.items() if path not in zarrs}
    else:
        finder.zarr_folders += len(finder.zarrs_inside.keys() - zarrs.keys())
    found += [
        SourceFile(path, _origin(path, base), _origin(path, top), SUFFIX)
        for path, top in zarrs.items()
    ]
    files = sorted(found, key=lambda file: file.origin)
    others = sorted(_origin(path, base) for path in finder.others)
    return Search(files, problems, others, finder.zarr_folders)


def _at_addresses(finder: RemoteFinder) -> Search:
    if finder.missing:
        raise SourceError(f"not found: {listed(finder.missing)}; check the spelling.")
    base = common_base(finder.bases)
    problems = [f"{below(place, base)}: {reason}." for place, reason in finder.problems]
    zarrs = dict(finder.zarrs)
    if not finder.files:
        zarrs |= {path: top for path, top in finder.zarrs_inside.items() if path not in zarrs}
    n_passed = finder.zarr_folders + len(finder.zarrs_inside.keys() - zarrs.keys())
    found = [
        SourceFile(file, below(file.path, base), below(file.path, top), kind)
        for some, kind in ((finder.files, ""), (zarrs, SUFFIX))
        for file, top in some.items()
    ]
    files = sorted(found, key=lambda file: file.origin)
    return Search(
        files, problems, sorted({below(place, base) for place in finder.others}), n_passed
    )


def located_zarr(place: str, mounts: Mounts) -> str | RemoteFile | None:
    """Return a folder of Zarr that users name, or None where there is none."""
    if not is_remote(place):
        path = os.path.abspath(os.path.expanduser(str(local_path(place) or place)))
        return path if os.path.isdir(path) and _is_zarr(path) else None
    if not place.lower().rstrip("/").endswith(SUFFIX):
        return None  # of a file, this would be a request for nothing
    finder = find_remote([place.rstrip("/")], [SUFFIX], (), mounts)
    return next(iter(finder.zarrs), None)


def _links_elsewhere(finder: _Finder, base: str) -> Iterator[str]:
    if not finder.linked:
        return
    searched = {os.path.realpath(folder) for folder in finder.folders}
    for link in finder.linked:
        target = os.path.realpath(link)
        if target not in searched and not _is_zarr(target):
            yield (
                f"{_origin(link, base)}: is a link to the folder {target}, which is not searched; "
                "give that folder as well, or say follow_links=True (--follow-links)."
            )


def _origin(path: str, base: str) -> str:
    return PurePath(os.path.relpath(path, base)).as_posix()


class _Origins:
    """Paths of files relative to folders; what is the same for all files of a folder is kept."""

    def __init__(self) -> None:
        self._folders: dict[tuple[str, str], str] = {}

    def __call__(self, path: str, base: str) -> str:
        """Return what `_origin` does."""
        folder, name = os.path.split(path)
        if path == base:
            return _origin(path, base)
        if (folder, base) not in self._folders:
            origin = _origin(folder, base)
            self._folders[folder, base] = "" if origin == "." else f"{origin}/"
        return self._folders[folder, base] + name


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _is_zarr(folder: str) -> bool:
    return any(os.path.isfile(os.path.join(folder, name)) for name in MARKS)


def _fixed_folder(pattern: str) -> str:
    """Return the folder that all matches of `pattern` are in, whatever they are."""
    parts = PurePath(os.path.expanduser(pattern)).parts
    fixed = list(takewhile(lambda part: not glob.has_magic(part), parts))
    return os.path.abspath(os.path.join(*fixed) if fixed else ".")
