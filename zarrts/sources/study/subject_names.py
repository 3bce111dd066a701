"""Subjects of recordings: named by `subject=`, by folders, or by the names of files."""

import csv
import io
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from zarrts.buckets.mounts import Mounts
from zarrts.errors import SourceError
from zarrts.keywords import did_you_mean
from zarrts.lists import listed
from zarrts.sources.formats.drafts import Draft, Findings
from zarrts.sources.rows.files import SourceFile, located, opened
from zarrts.sources.rows.views import ConstantRows
from zarrts.sources.source_options import SubjectOption
from zarrts.types import Description


def assign(subject: SubjectOption | None, mounts: Mounts, findings: Findings) -> None:
    """Give recordings their subjects; those that have none are noted, and left out.

    Without `subject`, it is whom a folder names, or each recording is its own subject: its name,
    or its path where names collide, so that no two share one.

    Raises
    ------
    SourceError
        If the option itself cannot be used.
    """
    names, problems = _names(findings.drafts, subject, mounts)
    findings.note("subject", problems)
    findings.drafts = [
        replace(draft, subject=name)
        for draft, name in zip(findings.drafts, names, strict=True)
        if name is not None
    ]


def _names(
    drafts: Sequence[Draft], subject: SubjectOption | None, mounts: Mounts
) -> tuple[list[str | None], list[str]]:
    """Return the subject of each recording, None where there is none, and what is wrong."""
    if subject is None:
        return list(_own_names(drafts)), []
    if isinstance(subject, os.PathLike) or (
        isinstance(subject, str) and subject.lower().endswith(".csv")
    ):
        path = os.fspath(subject)
        return _by_table(drafts, read_table(path, mounts), f"the table {path}")
    if isinstance(subject, str):
        return _by_pattern(drafts, subject)
    if isinstance(subject, Mapping):
        return _by_table(drafts, subject, "the mapping that subject= gives")
    if callable(subject):
        return _by_function(drafts, subject)
    raise SourceError(
        "subject= must be a regular expression, the path of a .csv table, a mapping or a "
        f"function, not {type(subject).__name__}."
    )


def subjects_of(
    subject: SubjectOption | None, paths: Sequence[str], mounts: Mounts
) -> tuple[list[str | None], list[str]]:
    """Return whom `subject=` names for paths, None where it names nobody, and what is wrong."""
    nothing = ConstantRows("", 0)
    drafts = [
        Draft(
            origin=path,
            name=path.rpartition("/")[2],
            path_name=path,
            paths=(),
            x=nothing,
            y=nothing,
            x_name="x",
            y_name="y",
            found="",
            description=Description.unknown(),
        )
        for path in paths
    ]
    return _names(drafts, subject, mounts)


def take_from_folders(files: Sequence[SourceFile], findings: Findings) -> None:
    """Give recordings their first folder as their subject."""
    inside = {file.path: file.inside for file in files}

    def named(draft: Draft) -> list[Draft]:
        folder, slash, _ = inside[draft.paths[0]].partition("/")
        if not slash:
            raise SourceError(
                f"{draft.origin}: lies in no folder, but folders='subjects' takes the subject from "
                "the folder; put it into one."
            )
        return [replace(draft, subject=folder)]

    findings.drafts = findings.collect("file", findings.drafts, named)


def _own_names(drafts: Sequence[Draft]) -> list[str]:
    choices = [(draft.name, draft.path_name, draft.origin) for draft in drafts]
    levels = [0] * len(drafts)
    unnamed = [index for index, draft in enumerate(drafts) if draft.subject is None]
    while True:
        users: dict[str, list[int]] = defaultdict(list)
        for index in unnamed:
            users[choices[index][levels[index]]].append(index)
        collided = [index for group in users.values() if len(group) > 1 for index in group]
        raised = [index for index in collided if levels[index] < 2]
        if not raised:
            return [
                draft.subject or choices[index][levels[index]] for index, draft in enumerate(drafts)
            ]
        for index in raised:
            levels[index] += 1


def _by_pattern(drafts: Sequence[Draft], pattern: str) -> tuple[list[str | None], list[str]]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise SourceError(
            f"subject={pattern!r} is not a regular expression ({error}); for a table, give the "
            "path of a .csv file."
        ) from error
    subjects: list[str | None] = []
    for draft in drafts:
        match = compiled.search(draft.origin)
        group = match.group(1 if compiled.groups else 0) if match else None
        subjects.append(group or None)
    return subjects, _missing(drafts, subjects, f"subject={pattern!r} does not match")


def _by_table(
    drafts: Sequence[Draft], table: Mapping[str, str], what: str
) -> tuple[list[str | None], list[str]]:
    subjects: list[str | None] = []
    for draft in drafts:
        keys = (draft.origin, draft.path_name, draft.origin.rpartition("/")[2], draft.name)
        found = next((table[key] for key in keys if key in table), None)
        if found is not None and not isinstance(found, str):
            raise SourceError(
                f"{what} gives {found!r} for {draft.origin}; a subject must be a str."
            )
        subjects.append(found or None)
    return subjects, _missing(drafts, subjects, f"{what} names no subject for")


def _by_function(
    drafts: Sequence[Draft], function: Callable[[str], str]
) -> tuple[list[str | None], list[str]]:
    subjects: list[str | None] = []
    for draft in drafts:
        try:
            found = function(draft.origin)
        except Exception as error:
            raise SourceError(
                f"the function that subject= gives failed for {draft.origin!r} ({error!r})."
            ) from error
        if found is not None and not isinstance(found, str):
            raise SourceError(
                f"the function that subject= gives returned {found!r} for {draft.origin!r}; a "
                "subject must be a str."
            )
        subjects.append(found or None)
    return subjects, _missing(
        drafts, subjects, "the function that subject= gives returned no subject for"
    )


def _missing(drafts: Sequence[Draft], subjects: Sequence[str | None], what: str) -> list[str]:
    origins = [
        draft.origin for draft, subject in zip(drafts, subjects, strict=True) if subject is None
    ]
    return [f"{what} {listed(origins)}; every file needs a subject."] if origins else []


def read_table(path: str, mounts: Mounts) -> dict[str, str]:
    """Read a `.csv` table with the columns file and subject (its first line names them).

    Parameters
    ----------
    path : str
        Or address: a text file in UTF-8.
    mounts : Mounts
        How addresses are reached.

    Returns
    -------
    dict from file (relative path, or name without suffix) to subject.

    Raises
    ------
    SourceError
        If it cannot be read, lacks a column or a value, or gives one file two subjects.
    """
    table: dict[str, str] = {}
    try:
        with (
            opened(located(path, mounts), path) as (stream, _),
            io.TextIOWrapper(stream, newline="", encoding="utf-8-sig") as file,
        ):
            lines = csv.DictReader(file, skipinitialspace=True)
            missing = {"file", "subject"} - set(lines.fieldnames or ())
            if missing:
                raise SourceError(
                    f"{path}: its first line has the columns {listed(lines.fieldnames or ())}, but "
                    f"needs file and subject; add {listed(sorted(missing))}."
                    + "".join(did_you_mean(it, lines.fieldnames or ()) for it in sorted(missing))
                )
            for line in lines:
                name = (line["file"] or "").strip().replace("\\", "/").removeprefix("./")
                subject = (line["subject"] or "").strip()
                if not name or not subject:
                    raise SourceError(
                        f"{path}: line {lines.line_num} lacks the file or the subject; fill it in."
                    )
                if table.setdefault(name, subject) != subject:
                    raise SourceError(
                        f"{path}: line {lines.line_num} gives {name} the subject {subject}, but an "
                        f"earlier line gives it {table[name]}; keep one of them."
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path}: the table cannot be read ({error}).") from error
    return table


_SESSION = re.compile(
    r"[_.\-/ ]*(?<![^\W\d_])"
    r"(?:recording|session|visit|night|trial|sess|run|ses|rec|day)"
    r"[_.\- ]*\d+",
    re.IGNORECASE,
)

# Sleep-EDF: SC4ssNEO and ST7ssNJ0, where ss is the person and N the night.
_SLEEP_EDF = re.compile(r"(?<![A-Za-z0-9])(SC4\d\d|ST7\d\d)\d[A-Z][A-Z0-9](?![A-Za-z0-9])")


def is_sleep_edf(subject: str) -> bool:
    """Return whether a name is that of a night in Sleep-EDF, such as SC4001E0."""
    return _SLEEP_EDF.search(subject) is not None


def session_like(subjects: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of names that differ only in a session-like part.

    Such a part is night, day, run, session (sess, ses), trial, visit or recording (rec) followed
    by a number, anywhere in the name: `s01_night1` and `s01_night2`, `run-01-S1` and `S1`. So are
    the nights of one person in Sleep-EDF, `SC4001E0` and `SC4002E0`. Two
    sessions of one person on both sides of a split are a leak.

    Parameters
    ----------
    subjects : iterable of str
        Names; equal names count once.

    Returns
    -------
    tuple of tuples of at least two names each, in order of first appearance.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    has_session: set[str] = set()
    for subject in dict.fromkeys(subjects):
        bare = _SLEEP_EDF.sub(r"\1", _SESSION.sub("_", subject))
        key = re.sub(r"[_.\-/ ]+", "_", bare).strip("_").casefold()
        groups[key].append(subject)
        if bare != subject:
            has_session.add(key)
    return tuple(
        tuple(group) for key, group in groups.items() if len(group) > 1 and key in has_session
    )
