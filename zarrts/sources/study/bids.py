"""Recordings of a BIDS data set (bids-specification.readthedocs.io).

The names of files say subject, session, task and run; two sessions of a person are one subject.
Beside the files, tables say what happened (`*_events.tsv`), what the channels are
(`*_channels.tsv`), and who took part (`participants.tsv`, whose columns are groups for splits).
Derivatives, source data and what `.bidsignore` names are left out.
"""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

from zarrts.buckets.mounts import Mounts
from zarrts.errors import SourceError
from zarrts.sources.formats import eeglab
from zarrts.sources.formats.contents import Contents
from zarrts.sources.formats.drafts import (
    Draft,
    Findings,
    gaps_of,
    input_name,
    mask_of,
    unlabelled_series,
)
from zarrts.sources.formats.edf_labels import labels_of
from zarrts.sources.formats.registry import open_contents, without_parts
from zarrts.sources.formats.signal_file import ANNOTATIONS, SIGNALS
from zarrts.sources.rows.files import SourceFile
from zarrts.sources.rows.views import ConstantRows
from zarrts.sources.source_options import SourceOptions
from zarrts.sources.study.bids_tables import (
    MISSING,
    Root,
    Tables,
    annotations_of,
    channels_of,
    described,
    entities_of,
    participants,
    read_text,
)
from zarrts.sources.study.search import Search
from zarrts.timeline import Gaps
from zarrts.types import Description, LabelsPer, RowReader, SeriesList

MARK = "dataset_description.json"
ENTITIES = {"ses": "session", "task": "task", "run": "run", "acq": "acquisition"}
"""Entities that are groups as well, by the word for each."""

_DATA = re.compile(r"sub-[^/]+/(?:ses-[^/]+/)?[a-z]+/sub-[^/]+")
_NO_RECORDINGS = ("_acq-crosstalk_", "_acq-calibration_", "sub-emptyroom")
_BESIDE = (".tsv", ".json", ".md", ".txt", ".rst", ".bib", ".cff", ".html")


@dataclass(frozen=True, kw_only=True)
class DataSets:
    """The data sets among what a search found.

    Attributes
    ----------
    recordings : dict
        The files of each data set that are recordings of its own.
    elsewhere : list of SourceFile
        Files that are in no data set.
    others : list of str
        Origins of the files of other kinds that no data set has beside its recordings.
    n_left : int
        How many files of recordings are left out, as derivatives are.
    """

    recordings: Mapping[Root, Sequence[SourceFile]]
    elsewhere: list[SourceFile]
    others: list[str]
    n_left: int

    @classmethod
    def of(cls, found: Search, options: SourceOptions, mounts: Mounts) -> Self:
        """Return the data sets in what was found; none where folders are said to mean something."""
        if options.folders != "auto":
            return cls(recordings={}, elsewhere=found.files, others=found.others, n_left=0)
        roots = _roots_of(found, mounts)
        recordings: dict[Root, list[SourceFile]] = {root: [] for root in roots}
        ignored = {root: _ignored(root) for root in roots}
        elsewhere, n_left = [], 0
        for file in without_parts(found.files) if roots else found.files:
            root = next((it for it in roots if it.inside(file.origin) is not None), None)
            inside = "" if root is None else root.inside(file.origin) or ""
            if root is None:
                elsewhere.append(file)
            elif _DATA.match(inside) and not _is_left_out(inside, ignored[root]):
                recordings[root].append(file)
            else:
                n_left += 1
        others = [it for it in found.others if not _is_beside(it, roots)]
        return cls(recordings=recordings, elsewhere=elsewhere, others=others, n_left=n_left)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on what is left out."""
        if not self.n_left:
            return ()
        return (
            f"BIDS: {self.n_left:,} files of derivatives, source data and the like are left out",
        )

    def find_drafts(self, options: SourceOptions, findings: Findings) -> None:
        """Find the recordings of all data sets."""
        for root, files in self.recordings.items():
            people: Mapping[str, Mapping[str, str]] = {}
            with findings.noting("file"):
                people = participants(root)
            find = partial(_drafts, tables=Tables(root), people=people, options=options)
            findings.drafts += findings.collect("file", files, find)


def _roots_of(found: Search, mounts: Mounts) -> list[Root]:
    """Return the data sets; those within others, as derivatives are, are none."""
    marks = (it.rpartition("/") for it in found.others)
    folders = sorted(folder for folder, _, name in marks if name == MARK)
    roots: list[Root] = []
    for folder in folders:
        prefix = f"{folder}/" if folder else ""
        is_within = any(not it.folder or prefix.startswith(f"{it.folder}/") for it in roots)
        like = next((it for it in found.files if it.origin.startswith(prefix)), None)
        if is_within or like is None:
            continue
        path = like.path if isinstance(like.path, str) else like.path.path
        place = path[: len(path) - len(like.origin)].replace("\\", "/") + folder
        origins = (*(it.origin for it in found.files), *found.others)
        roots.append(Root(folder, place.rstrip("/"), frozenset(origins), mounts))
    return roots


def _is_left_out(inside: str, ignored: Sequence[str]) -> bool:
    return any(it in f"_{inside}" for it in _NO_RECORDINGS) or any(
        fnmatch.fnmatch(inside, it) or fnmatch.fnmatch(inside.rpartition("/")[2], it)
        for it in ignored
    )


def _ignored(root: Root) -> list[str]:
    """Return the patterns in `.bidsignore`; a search passes over its hidden name."""
    try:
        text = read_text(root.path(".bidsignore"), ".bidsignore")
    except SourceError:
        return []
    lines = (it.strip() for it in text.splitlines())
    patterns = [it.lstrip("/") for it in lines if it and not it.startswith("#")]
    return [f"{it}*" if it.endswith("/") else it for it in patterns]


def _is_beside(origin: str, roots: Sequence[Root]) -> bool:
    """Return whether a file of another kind is one that a data set has beside its recordings."""
    if not any(it.inside(origin) is not None for it in roots):
        return False
    name = origin.rpartition("/")[2]
    return "." not in name or name.endswith(_BESIDE)


def _drafts(
    file: SourceFile,
    tables: Tables,
    people: Mapping[str, Mapping[str, str]],
    options: SourceOptions,
) -> list[Draft]:
    return [_draft(file, tables, people, options)]


def _draft(
    file: SourceFile,
    tables: Tables,
    people: Mapping[str, Mapping[str, str]],
    options: SourceOptions,
) -> Draft:
    inside = tables.root.inside(file.origin) or ""
    subject = inside.partition("/")[0]
    entities = entities_of(inside)
    columns = {name for it in people.values() for name in it}
    groups = {name: people.get(subject, {}).get(name, MISSING) for name in sorted(columns)}
    groups |= {ENTITIES[it]: entities[it] for it in ENTITIES if it in entities}
    channels, events = tables.lowest(inside, "channels"), tables.lowest(inside, "events")
    with open_contents(file) as contents:
        is_signals = SIGNALS in contents.names
        x_name = SIGNALS if is_signals else input_name(contents, options.input_name, file.origin)
        x = contents.reader(x_name, "x", options)
        description = contents.description(x_name, options)
        notes, mask = contents.notes, mask_of(contents, x_name, options)
        gaps = gaps_of(contents, x_name, options)
        if channels is not None:
            said, more = channels_of(tables, channels)
            description, notes = described(description, said, notes, more)
        rate_hz = tables.sidecar(inside).get("SamplingFrequency")
        if description.rate_hz is None and isinstance(rate_hz, int | float):
            description = replace(description, rate_hz=float(rate_hz))
        y, labels_per, y_name = _labels(
            contents, x, description, gaps, tables, events, options, file.origin
        )
    beside = [tables.root.path(it) for it in (channels, events) if it is not None]
    found = Draft(
        origin=file.origin,
        name=subject,
        path_name=file.origin,
        paths=tuple(dict.fromkeys((file.path, *contents.more_paths, *beside))),
        x=x,
        y=y,
        x_name=x_name,
        y_name=y_name,
        found=f"{contents.found}, in BIDS",
        description=description,
        subject=subject,
        labels_per=labels_per,
        notes=notes,
        mask=mask,
        gaps=gaps,
        groups=groups,
    )
    is_bare = is_signals and options.is_unlabelled
    return unlabelled_series(found, options) if is_bare else found


def _labels(
    contents: Contents,
    x: RowReader | SeriesList,
    description: Description,
    gaps: Gaps | None,
    tables: Tables,
    events: str | None,
    options: SourceOptions,
    origin: str,
) -> tuple[RowReader | SeriesList, LabelsPer, str]:
    """Return the labels of rows, from the table of events, or those that the file itself has."""
    if isinstance(x, SeriesList):
        raise SourceError(f"{origin}: is a list of series, which no file of BIDS is.")
    if options.is_unlabelled:
        return ConstantRows("", x.shape[0]), "sample", "y"
    if events is None:
        own = next((it for it in (ANNOTATIONS, eeglab.EVENTS) if it in contents.names), None)
        if own is not None:
            return contents.reader(own, "y", options), "row", own
        raise SourceError(
            f"{origin}: has no table of events (*_events.tsv) beside it, and no annotations; put "
            "one there, or say y=False (--no-y) where there are no labels."
        )
    if description.rate_hz is None:
        raise SourceError(f"{origin}: its rate is not known; say rate_hz= (--rate-hz).")
    where = tables.root.origin(events)
    annotations = annotations_of(tables, events)
    n_rows = x.shape[0]
    rows = labels_of(annotations, description.rate_hz, n_rows, options, where, gaps=gaps)
    return rows, "row", ANNOTATIONS
