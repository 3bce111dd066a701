"""The versions of a store that can be opened, and how its root lists them.

Of few versions, the root names all parts of each. A store to which a thousand subjects were
appended has a thousand versions; spelled out, their parts would be half a million names, read and
written again at each append. So of many versions, each says how many of its first parts are those
of the version before it, and names the others:

    {"version": 2, "shared": 1, "segments": ["1"], "n_classes": 3}

Versions of zarrts that do not know this refuse such a store, which needs `MANY_VERSIONS`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zarrts.storage.schema import MANY_VERSIONS

_FEW = 64  # which take no time, and are listed as every version of zarrts reads them


@dataclass(frozen=True, eq=False)
class Version:
    """A version that can be opened: its segments, and how many classes were known then.

    Attributes
    ----------
    version : int
    n_classes : int, or None
    names : tuple of str
        The segments of this version, and of later ones that only have more: so a thousand of them
        share one tuple.
    n_segments : int
        How many of `names` are of this one.
    """

    version: int
    n_classes: int | None
    names: tuple[str, ...] = field(repr=False)
    n_segments: int

    @staticmethod
    def of(version: int, segments: Iterable[str], n_classes: int | None) -> "Version":
        """Return a version of some segments."""
        names = tuple(segments)
        return Version(version, n_classes, names, len(names))

    @property
    def segments(self) -> tuple[str, ...]:
        """Names of the segments, in their order."""
        return self.names[: self.n_segments]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Version):
            return NotImplemented
        return (self.version, self.n_classes) == (other.version, other.n_classes) and (
            self.segments == other.segments
        )

    def __hash__(self) -> int:
        return hash((self.version, self.n_segments))


def needs_of(versions: Sequence[Version]) -> tuple[str, ...]:
    """Return what a reader of a list of versions has to know beyond schema 1."""
    return (MANY_VERSIONS,) if len(versions) > _FEW else ()


def entries_of(versions: Sequence[Version]) -> list[dict[str, Any]]:
    """Return versions as a root lists them."""
    if not needs_of(versions):
        return [
            {"version": it.version, "segments": list(it.segments), "n_classes": it.n_classes}
            for it in versions
        ]
    before = Version.of(0, (), None)
    found = []
    for it in versions:
        n_shared = _count_shared(before, it)
        found.append(
            {
                "version": it.version,
                "shared": n_shared,
                "segments": list(it.names[n_shared : it.n_segments]),
                "n_classes": it.n_classes,
            }
        )
        before = it
    return found


def _count_shared(one: Version, other: Version) -> int:
    """Return how many of the first segments of two versions are the same."""
    n_both = min(one.n_segments, other.n_segments)
    if one.names is other.names or one.names[:n_both] == other.names[:n_both]:
        return n_both
    pairs = zip(one.names[:n_both], other.names[:n_both], strict=True)
    return next(number for number, (left, right) in enumerate(pairs) if left != right)


def versions_of(found: Iterable[Mapping[str, Any]]) -> tuple[Version, ...]:
    """Return the versions that a root lists.

    Raises
    ------
    ValueError
        If one shares more segments than the one before it has.
    """
    # Runs of versions of which each has the segments of the one before it, and maybe more.
    runs: list[tuple[list[str], list[tuple[Mapping[str, Any], int]]]] = []
    names: list[str] = []
    for it in found:
        n_shared, more = it.get("shared", 0), it["segments"]
        if not 0 <= n_shared <= len(names):
            raise ValueError(f"version {it['version']} shares {n_shared} of {len(names)} segments")
        if "shared" not in it and more[: len(names)] == names:
            n_shared, more = len(names), more[len(names) :]
        if n_shared < len(names) or not runs:
            names = names[:n_shared]
            runs.append((names, []))
        names += more
        runs[-1][1].append((it, len(names)))
    return tuple(
        Version(it["version"], it["n_classes"], of_run, n_segments)
        for of_run, its in ((tuple(names), its) for names, its in runs)
        for it, n_segments in its
    )
