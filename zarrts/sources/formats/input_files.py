"""Several files of one recording, each an input of it, by their names: acc.csv and hr.csv."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from zarrts.lists import listed
from zarrts.sources.formats.array_names import Y_WORDS
from zarrts.sources.formats.drafts import Draft
from zarrts.sources.formats.npy_pairs import folder_name, readings
from zarrts.sources.rows.files import SourceFile, SourcePath
from zarrts.sources.rows.inputs import InputRows
from zarrts.sources.source_options import SourceOptions
from zarrts.types import Description, RowReader

LABELS = "labels of y="
"""The role of a file of labels; no input has that name, which has blanks."""

_MAX_SHOWN = 8


@dataclass(frozen=True)
class FileGroup:
    """The files of one recording.

    Attributes
    ----------
    folder : str
        That all are in, relative, with "/"; "" at the top.
    shared : str
        What their names share; "" where they are nothing but the names of inputs.
    inputs : dict
        The file of each input.
    labels : SourceFile, or None
    """

    folder: str
    shared: str
    inputs: Mapping[str, SourceFile]
    labels: SourceFile | None

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """All files, those of inputs by their names."""
        files = [self.inputs[name] for name in sorted(self.inputs)]
        return tuple(files if self.labels is None else [*files, self.labels])

    @property
    def origin(self) -> str:
        """The name of it in messages and the store: that of the file of the first input."""
        return self.inputs[min(self.inputs)].origin

    @property
    def name(self) -> str:
        """The name of the subject: what the files share, or else that of their folder."""
        path = str(self.inputs[min(self.inputs)].path)
        return self.shared or self.folder.rpartition("/")[2] or folder_name(path)

    @property
    def path_name(self) -> str:
        """The same with the folders."""
        return "/".join(part for part in (self.folder, self.shared) if part) or self.name

    @property
    def paths(self) -> tuple[SourcePath, ...]:
        """Absolute, of all files."""
        return tuple(it.path for it in self.files)

    def draft(
        self,
        x: InputRows,
        y: RowReader,
        *,
        y_name: str,
        each: str,
        description: Description,
    ) -> Draft:
        """Return the recording that the files are.

        Parameters
        ----------
        x : InputRows
        y : RowReader
        y_name : str
            The name of the labels in the source.
        each : str
            Names the files in a plan, such as "tables".
        description : Description
        """
        return Draft(
            origin=self.origin,
            name=self.name,
            path_name=self.path_name,
            paths=self.paths,
            x=x,
            y=y,
            x_name=", ".join(self.inputs[name].origin.rpartition("/")[2] for name in x.names),
            y_name=y_name,
            found=f"{len(self.files)} {each}, one for each input",
            description=description,
        )


def group_files(
    files: Collection[SourceFile],
    words: Mapping[str, tuple[str, ...]],
    options: SourceOptions,
    *,
    needs_labels: bool,
) -> tuple[list[FileGroup], list[str]] | None:
    """Return the files of each recording, and what is wrong with others.

    None where the names of files are not those of inputs, so that these are not files.

    Parameters
    ----------
    words : dict
        What stands for each input in the names of files; see `npy_pairs.pair_up`.
    needs_labels : bool
        Whether each recording needs a file of labels, which `y` names, or has a usual name; else
        only what `y` names may be one.
    """
    has_none = options.is_unlabelled
    usual = tuple(Y_WORDS) if needs_labels or has_none else ()  # which are passed over then
    roles = dict(words) | {LABELS: usual if options.label_name is None else (options.label_name,)}
    every: dict[tuple[str, str], dict[str, list[SourceFile]]] = {}
    others = []
    for file in sorted(files, key=lambda it: it.origin):
        folder, _, file_name = file.origin.rpartition("/")
        stem = file_name.rpartition(".")[0]
        parts = [it for role, some in roles.items() for it in readings(stem, role, some)]
        if not parts:
            others.append(file)
            continue
        part = min(parts, key=lambda it: it.rank)
        every.setdefault((folder, part.rest), {}).setdefault(part.role, []).append(file)
    found = {role for group in every.values() for role in group}
    if not {*words} & found or (not needs_labels and not {*words} <= found):
        return None
    if not {*words} <= found:
        absent = listed(name for name in words if name not in found)
        shown = listed((it.origin for it in files), _MAX_SHOWN)
        return [], [f"No file is {absent} by its name, which x= names; there are {shown}."]
    groups, problems = [], []
    for (folder, rest), group in every.items():
        lacking = [name for name in words if name not in group]
        if needs_labels and not has_none and LABELS not in group:
            lacking.append("labels")
        twice = [it.origin for some in group.values() if len(some) > 1 for it in some]
        shown = listed(it.origin for some in group.values() for it in some)
        if not {*group} - {LABELS} and has_none:
            continue
        if twice:
            problems.append(
                f"{listed(twice)}: belong together by name, but each input of a recording is one "
                "file; leave out what is not meant, or say with x= how files are named."
            )
        elif lacking:
            problems.append(
                f"{shown}: of this recording, by name, there is no file of {listed(lacking)}; put "
                "it beside, or say with x= and y= how files are named."
            )
        else:
            own = {name: group[name][0] for name in words}
            labels = group[LABELS][0] if LABELS in group and not has_none else None
            groups.append(FileGroup(folder, rest, own, labels))
    problems += [
        f"{file.origin}: is none of {listed(words)} by its name; give those files that are meant, "
        f"such as '**/*{min(words)}.{file.origin.rpartition('.')[2]}', or move it away."
        for file in others
    ]
    return groups, problems
