"""Class folders, as Keras' generators read them: the names of folders are the labels."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from zarrts.errors import SourceError
from zarrts.lists import listed
from zarrts.sources.formats import registry
from zarrts.sources.formats.carried import description_of
from zarrts.sources.formats.contents import Contents
from zarrts.sources.formats.drafts import Draft, Findings, draft_of, input_name
from zarrts.sources.rows.files import SourceFile, ahead
from zarrts.sources.rows.views import ConstantRows, count_rows
from zarrts.sources.source_options import SourceOptions
from zarrts.types import RowReader, SeriesList

_SUBJECT_NAME = re.compile(
    r"(?:s|su|sub|subj|subject|p|pp|part|participant|pat|patient|pt|person|user|id|u|vp)"
    r"[_.\- ]*\d+",
    re.IGNORECASE,
)


def find_drafts(files: Sequence[SourceFile], options: SourceOptions, findings: Findings) -> None:
    """Find one recording for each file in class folders.

    Each file, of whatever format, is one sample, (time, channel) or whatever shape it has, and
    labelled with the folder that it is in; where `axes` names "sample", a file is several samples
    of one class. A second level of folders names the subjects.

    Raises
    ------
    SourceError
        If it is not clear which level of folders stands for what, or a folder is none of
        `class_names`.
    """
    files = registry.without_parts(files)
    if not files:
        return
    registry.refuse_mixture(files)
    findings.note(
        "file",
        (
            f"{file.origin}: lies in no folder below what was given, so its class is not known; "
            "put it into a folder named as its class."
            for file in files
            if "/" not in file.inside
        ),
    )
    filed = [file for file in files if "/" in file.inside]
    names = options.class_names
    class_names = None if names is None else [str(name) for name in names]
    level = _class_level(filed, options.folders, class_names)
    _refuse_unknown_classes(filed, level, class_names)
    has_subjects = _has_two_levels(filed)

    def draft(file: SourceFile) -> list[Draft]:
        folders = file.inside.split("/")
        subject = folders[1 - level] if has_subjects else None
        return [_draft(file, options, folders[level], subject)]

    findings.drafts += findings.collect("file", ahead(filed), draft)


def _draft(file: SourceFile, options: SourceOptions, label: str, subject: str | None) -> Draft:
    rows: RowReader | SeriesList
    with registry.open_contents(file) as contents:
        if isinstance(options.x, Mapping) or (options.inputs and contents.side_by_side is None):
            return _draft_of_several(file, contents, options, label, subject)
        if len(contents.names) != 1 and not contents.is_named:
            raise SourceError(
                f"{file.origin}: holds {listed(map(contents.summary, contents.names))}, but a "
                "file in a class folder holds one series; save each in a file of its own."
            )
        if contents.side_by_side is not None:
            _refuse_times(file, options)
            rows, description = contents.side_by_side(options)
            name = "series"
        else:
            name = input_name(contents, options.input_name, file.origin)
            rows = contents.reader(name, "x", options)
            description = description_of(contents, name, options)
        paths = tuple(dict.fromkeys((file.path, *contents.more_paths)))
    if not isinstance(rows, SeriesList) and not options.names_samples:
        rows = SeriesList((rows,))
    return Draft(
        origin=file.origin,
        name=file.stem,
        path_name=file.inside.rpartition(".")[0],
        paths=paths,
        x=rows,
        y=ConstantRows(label, count_rows(rows)),
        x_name="series" if len(contents.names) == 1 else name,
        y_name="folder",
        found=f"a class folder of {_suffix(file)} files",
        description=description,
        subject=subject,
    )


def _draft_of_several(
    file: SourceFile, contents: Contents, options: SourceOptions, label: str, subject: str | None
) -> Draft:
    """Return the recording that a file holds as several inputs, with one label."""
    if contents.side_by_side is not None:
        _refuse_times(file, options)
        x, description = contents.side_by_side(options)
    else:
        bare = draft_of(file, contents, replace(options, y=False, folders="auto"))
        if isinstance(bare.x, SeriesList):
            raise SourceError(f"{file.origin}: is a list of series; save a file for each.")
        x, description = bare.x, bare.description
    return Draft(
        origin=file.origin,
        name=file.stem,
        path_name=file.inside.rpartition(".")[0],
        paths=tuple(dict.fromkeys((file.path, *contents.more_paths))),
        x=x,
        y=ConstantRows(label, 1),
        x_name=", ".join(options.inputs),
        y_name="folder",
        found=f"a class folder of {_suffix(file)} files",
        description=description,
        subject=subject,
        labels_per="recording",
    )


def _refuse_times(file: SourceFile, options: SourceOptions) -> None:
    if options.time is not None:
        raise SourceError(
            f"{file.origin}: time= is for recordings, of which a column says when each row was; of "
            "a class folder, say the rate with rate_hz= (--rate-hz)."
        )


def _suffix(file: SourceFile) -> str:
    return file.kind or f".{file.origin.rpartition('.')[2].lower()}"


# Which level is which --------------------------------------------------------------------------


def _class_level(
    files: Sequence[SourceFile], levels: str, class_names: Sequence[str] | None
) -> int:
    """Return 0 if the upper folders are classes, 1 if the lower ones are."""
    is_deep = _has_two_levels(files)
    if levels != "classes":
        flat = [file.origin for file in files if file.inside.count("/") < 2]
        if flat:
            raise SourceError(
                f"{listed(flat, 5)}: folders={levels!r} needs two levels of folders above each "
                "file; put them there, or say folders='classes' (--folders classes)."
            )
        return levels.split("/").index("classes")
    if not is_deep:
        return 0
    upper = {file.inside.split("/")[0] for file in files}
    lower = {file.inside.split("/")[1] for file in files}
    evidence = [
        found
        for found in (_by_names(upper, lower, class_names), _by_form(upper, lower), _nested(files))
        if found is not None
    ]
    if evidence:
        return evidence[0]
    raise SourceError(
        f"Two levels of folders, {listed(sorted(upper), 4)} and below them "
        f"{listed(sorted(lower), 4)}: which are the classes? Say folders='classes/subjects' if the "
        "upper ones are, folders='subjects/classes' if the lower ones are (--folders)."
    )


def _has_two_levels(files: Sequence[SourceFile]) -> bool:
    return bool(files) and all(file.inside.count("/") >= 2 for file in files)


def _by_names(upper: set[str], lower: set[str], class_names: Sequence[str] | None) -> int | None:
    if class_names is None:
        return None
    fits = [level for level, names in enumerate((upper, lower)) if names <= set(class_names)]
    return fits[0] if len(fits) == 1 else None


def _by_form(upper: set[str], lower: set[str]) -> int | None:
    """Return the level whose names are not like s01 or subject-3, if those of the other are."""
    like_subjects = [
        all(_SUBJECT_NAME.fullmatch(name) for name in names) for names in (upper, lower)
    ]
    return like_subjects.index(False) if sum(like_subjects) == 1 else None


def _nested(files: Sequence[SourceFile]) -> int | None:
    """Return 0 if the upper folders hold several lower ones each, and share none of them.

    So it is where every subject has one class, such as a diagnosis.
    """
    below: dict[str, set[str]] = defaultdict(set)
    for file in files:
        upper, lower = file.inside.split("/")[:2]
        below[upper].add(lower)
    n_lower = len(set().union(*below.values()))
    is_nested = n_lower == sum(map(len, below.values())) and min(map(len, below.values())) > 1
    return 0 if is_nested else None


def _refuse_unknown_classes(
    files: Sequence[SourceFile], level: int, class_names: Sequence[str] | None
) -> None:
    if class_names is None:
        return
    found = {file.inside.split("/")[level] for file in files}
    unknown = sorted(found - set(class_names))
    if unknown:
        raise SourceError(
            f"The folders {listed(unknown)} are none of class_names= ({listed(class_names)}); add "
            "them there, or move them away."
        )
