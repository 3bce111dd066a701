"""The options of sources: named, documented, defaulted and checked in this one place."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from zarrts.errors import PlanError, SourceError
from zarrts.sources.option_checks import (
    check_annotations,
    check_arrays,
    check_label_options,
    check_number,
    check_override,
    check_units,
)
from zarrts.sources.option_records import (
    as_tuple,
    description_from,
    plain,
    rates_of,
    recorded_description,
)
from zarrts.sources.step_lists import of_input
from zarrts.sources.step_options import Pick, Step
from zarrts.sources.step_records import recorded_steps, steps_from_recorded
from zarrts.types import FOLDERS, Description, axis_rank

Role = Literal["x", "y"]
"""The role of an array: inputs or labels."""

SubjectOption = str | os.PathLike[str] | Mapping[str, str] | Callable[[str], str]
"""A regular expression, path or address of a `.csv` table, a mapping, or a function of a path."""

KINDS = ("auto", "dense", "ragged")

_OF_ONE_SERIES = (("time", "channel"), ("channel", "time"))
_SAID = (
    *("annotations", "unlabelled", "missing", "units", "override", "missing_chunks", "time"),
    "subject_column",
)
_RECORDED = ("x", "y", "axes", "folders", "class_names", "channels", "rate_hz")


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Options that say what the files of a study hold, and whose they are.

    Immutable, and checked where it is made. `check_axes` and `check_names` check what a user
    gives, which options that are taken from a store need not fit.

    Attributes
    ----------
    x : str, tuple of str or mapping, optional
        Name of the array of inputs, in files of several; for pairs of `.npy` files see
        `npy_pairs.pair_up`. Several names are several inputs. A mapping names each input, and what
        it is in a file: an array, or a list of signals or columns.
    y : str, tuple of str or False, optional
        The same of the array of labels; several names are several arrays of labels. False: the
        study has no labels, whatever arrays there are.
    axes : sequence of str, optional
        What the axes of x in the files are called, such as ("sample", "channel", "time"). They
        come out with "sample" first, then "time", others as given, "channel" last.
        ("time", "channel"), in either order, are those of one series.
    folders : str
        "auto": folders mean nothing, but name the files. "subjects": the first level of folders
        names the subjects. "classes" and what follows it in `FOLDERS`: see `class_folders`.
    class_names : tuple of str or int, optional
        All classes that labels or folders may name.
    channels : tuple of str, optional
        Names of the channels. In files that name theirs, these are chosen, in this order.
    rate_hz : float, optional
        Rows per second, of files that do not say it.
    units : str or tuple of str, optional
        Physical unit of all channels or of each, of files that do not say it. Files that say
        another one are converted, where the factor is known. Of several inputs, `channels`,
        `rate_hz` and `units` may be mappings by name; "y" in `rate_hz` is the rate of labels.
    override : tuple of str
        Names of options (of `OVERRIDES`) that are right where a file says otherwise.
    subject : str, path, mapping or callable, optional
        Who a file belongs to: a regular expression (its group 1, or all of the match) for the
        relative path with "/"; a function of that path; a mapping from relative path (or name
        without suffix) to subject; or path or address of a `.csv` table with the columns file and
        subject. By default each file (pair) is a subject of its own name, or of its relative
        path where two have the same name. Says nothing about a Recording, which has a subject.
    kind : str
        "dense": rows are samples. "ragged": rows are steps in time. "auto": see `study.ragged`.
    label_every : int or str, optional
        Each label is for so many rows, or so much time; rows are steps in time then.
    follow_links : bool
        Search links to folders as well.
    annotations : tuple of str, or str, optional
        The texts of EDF annotations that are labels, or a regular expression that is searched in
        each text; by default all.
    unlabelled : str, optional
        Name of the class of what has no label, where labels are text.
    missing : int or float, optional
        A value of x that stands for one that is missing, and becomes NaN.
    time : str, optional
        Of tables: the column of time stamps, from which rate and gaps follow.
    labels : optional
        A table of intervals that are the labels; see `study.elsewhere`.
    subject_column : str, optional
        The column that `subject` named when the store was made.
    missing_chunks : "fill", optional
        Chunks of Zarr arrays that were never written hold the fill value; by default they are
        refused.
    steps : tuple of Step
        What is done with recordings, in this order.
    before_steps : Description, optional
        What columns and rows have to mean before the first step that computes, as in the store or
        the training that these steps come from; by default as the recordings have it.

    Raises
    ------
    PlanError, SourceError
        If an option cannot be meant so; names the remedy.
    """

    x: str | Sequence[str] | Mapping[str, Any] | None = None
    y: str | tuple[str, ...] | Literal[False] | None = None
    axes: Sequence[str] | None = None
    folders: str = "auto"
    class_names: tuple[str | int, ...] | None = None
    channels: Any = None
    rate_hz: Any = None
    units: Any = None
    override: tuple[str, ...] = ()
    subject: SubjectOption | None = None
    kind: str = "auto"
    label_every: int | str | None = None
    follow_links: bool = False
    annotations: tuple[str, ...] | str | None = None
    unlabelled: str | None = None
    missing: int | float | None = None
    time: str | None = None
    labels: Any = None
    subject_column: str | None = None
    missing_chunks: str | None = None
    steps: tuple[Step, ...] = ()
    before_steps: Description | None = None

    def __post_init__(self) -> None:
        names = ("x", "y", "axes", "class_names", "channels", "units", "override", "annotations")
        for name in names:
            value: Any = getattr(self, name)
            if isinstance(value, Mapping):
                of_inputs = {key: as_tuple(it) for key, it in value.items()}
                if name == "x":  # inputs come in the order of their names, however given
                    of_inputs = dict(sorted(of_inputs.items()))
                object.__setattr__(self, name, of_inputs)
            elif isinstance(value, Iterable) and not isinstance(value, str):
                object.__setattr__(self, name, tuple(value))
        if isinstance(self.rate_hz, np.number):
            object.__setattr__(self, "rate_hz", float(self.rate_hz))
        check_arrays(self.x, self.y)
        check_label_options(
            self.y,
            has_table=self.labels is not None,
            has_every=self.label_every is not None,
            has_folders=self.has_class_folders,
        )
        check_override(self.override)
        check_units(self.units)
        check_annotations(self.annotations)
        if self.folders not in FOLDERS:
            known = ", ".join(FOLDERS)
            raise SourceError(f"folders={self.folders!r} is unknown; use one of {known}.")
        if self.kind not in KINDS:
            known = ", ".join(map(repr, KINDS))
            raise PlanError(f"kind={self.kind!r} is unknown; use one of {known}.")
        self._check_values()
        rates = self.rate_hz.values() if isinstance(self.rate_hz, Mapping) else [self.rate_hz]
        for rate in rates:
            check_number("rate_hz", rate, float, 0)
            if rate == 0 or rate == float("inf"):
                raise PlanError(f"rate_hz={rate} has to be above 0, and finite.")
        if self.label_every is not None and self.kind == "dense":
            raise PlanError(
                f"label_every={self.label_every!r} is about rows that follow in time, but "
                "kind='dense' makes each a sample; leave one of them out."
            )

    def _check_values(self) -> None:
        if self.unlabelled is not None and not (
            isinstance(self.unlabelled, str) and self.unlabelled
        ):
            raise SourceError(f"unlabelled={self.unlabelled!r} has to be the name of a class.")
        if self.missing_chunks not in (None, "fill"):
            raise SourceError(
                f"missing_chunks={self.missing_chunks!r} is unknown; say 'fill' for fill values, "
                "or leave it out, and chunks that are missing are refused."
            )
        value = self.missing
        if isinstance(value, np.number):
            object.__setattr__(self, "missing", value.item())
        elif value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise SourceError(f"missing={value!r} has to be a number.")

    def check_names(self) -> None:
        """Raise PlanError unless `channels` and `class_names` are names that differ."""
        for option, names in (("channels", self.channels), ("class_names", self.class_names)):
            if isinstance(names, Mapping):
                for of_input in names:
                    self.of_input(of_input).check_names()
                continue
            names = names or ()
            are_numbers = option == "class_names" and all(type(name) is int for name in names)
            if not are_numbers and not all(isinstance(name, str) and name for name in names):
                more = ", or of integers" if option == "class_names" else ""
                raise PlanError(f"{option}={list(names)!r} has to be a list of names{more}.")
            twice = sorted({str(name) for name in names if names.count(name) > 1})
            if twice:
                raise PlanError(f"{option}= names {', '.join(twice)} more than once.")

    def check_axes(self) -> None:
        """Raise SourceError unless `axes` names each axis once, and "sample" where rows are."""
        if self.axes is None:
            return
        names = () if isinstance(self.axes, str) else self.axes
        is_named = bool(names) and all(isinstance(name, str) and name for name in names)
        has_samples = not self.is_series and not self.has_class_folders
        lacks_sample = has_samples and "sample" not in names
        if not is_named or len(set(names)) < len(names) or lacks_sample:
            example = ("sample", "channel", "time") if has_samples else ("channel", "time")
            raise SourceError(
                "axes= must name every axis of x once"
                f"{', sample among them' if has_samples else ''}, such as {example}, not "
                f"{self.axes!r}."
            )

    # Questions ---------------------------------------------------------------------------------

    @property
    def input_name(self) -> str | None:
        """Name of the only array of inputs, where it is given."""
        return self.x if isinstance(self.x, str) else None

    @property
    def inputs(self) -> Mapping[str, tuple[str, ...]]:
        """The names in a file of each of several inputs; none where there is one."""
        if isinstance(self.x, Mapping):
            return {name: (it,) if isinstance(it, str) else it for name, it in self.x.items()}
        return {name: (name,) for name in self.x} if isinstance(self.x, tuple) else {}

    def of_input(self, name: str) -> Self:
        """Return the options of one of several inputs."""
        own: dict[str, Any] = {it: getattr(self, it) for it in ("channels", "rate_hz", "units")}
        own = {it: of.get(name) if isinstance(of, Mapping) else of for it, of in own.items()}
        own["rate_hz"] = rates_of(own["rate_hz"])
        own["steps"] = of_input(self.steps, name)
        before = self.before_steps and self.before_steps.of_inputs.get(name)
        return replace(self, **own, before_steps=before)

    def of_signals(self, name: str) -> Self:
        """Return the options of an input of a file of signals, of which `x` names those chosen."""
        return replace(self.of_input(name), x=None, channels=self.inputs[name])

    @property
    def only_rate_hz(self) -> float | None:
        """The rate that is given for one input; rates by name are those of several."""
        return None if isinstance(self.rate_hz, Mapping) else self.rate_hz

    @property
    def has_columns(self) -> bool:
        """Whether `x` may name columns of tables: it is a list, or a mapping."""
        return isinstance(self.x, tuple | Mapping)

    @property
    def label_name(self) -> str | None:
        """Name of the only array of labels, where it is given."""
        return self.y if isinstance(self.y, str) else None

    @property
    def is_unlabelled(self) -> bool:
        """Whether it is said that there are no labels, or none in the files of x."""
        return self.y is False or self.labels is not None

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of several arrays of labels; none where there is one array."""
        return self.y if isinstance(self.y, tuple) else ()

    @property
    def has_class_folders(self) -> bool:
        """Whether folders are classes."""
        return self.folders not in ("auto", "subjects")

    @property
    def is_series(self) -> bool:
        """Whether it is said that rows are steps in time."""
        if self.label_every is not None or self.kind == "ragged":
            return True
        # In class folders each file is a series anyway, so that its axes say nothing more.
        return self.kind == "auto" and not self.has_class_folders and self.axes in _OF_ONE_SERIES

    @property
    def names_samples(self) -> bool:
        """Whether it is said that an axis of x counts samples."""
        return self.axes is not None and "sample" in self.axes

    @property
    def picked(self) -> frozenset[str] | None:
        """Names of the channels that the first step picks, aliases among them; None: all."""
        first = self.steps[0] if self.steps else None
        return first.wanted if isinstance(first, Pick) and not first.input else None

    def order(self, role: Role, shape: tuple[int, ...], where: str) -> tuple[int, ...] | None:
        """Return the order in which the axes come out: sample, time, others, channel.

        None where they stay as they are, which is always so for labels.

        Raises
        ------
        SourceError
            If `axes` names more or fewer than `shape` has.
        """
        if role == "y" or self.axes is None:
            return None
        axes = self.axes
        if len(axes) != len(shape):
            raise SourceError(
                f"{where}: has {len(shape)} axes (shape {shape}), but axes= names {len(axes)} "
                f"({', '.join(axes)}); name each axis of the array once."
            )
        return tuple(sorted(range(len(axes)), key=lambda axis: axis_rank(axes[axis])))

    def order_of_series(
        self, role: Role, shape: tuple[int, ...], where: str
    ) -> tuple[int, ...] | None:
        """Return the same for one of a list of series, whose place in it may be named "sample"."""
        if self.axes is None or not self.names_samples:
            return self.order(role, shape, where)
        if self.axes[0] != "sample":
            raise SourceError(
                f"{where}: is one of a list, so that samples come first; name 'sample' first in "
                f"axes=, not {', '.join(self.axes)}."
            )
        return replace(self, axes=self.axes[1:]).order(role, shape, where)

    # In a store --------------------------------------------------------------------------------

    def recorded(self) -> dict[str, Any]:
        """Return what a store keeps of them, as plain values of JSON; see `from_recorded`."""
        kept = {name: plain(getattr(self, name)) for name in _RECORDED}
        rate_hz = rates_of(self.rate_hz)
        said = {name: getattr(self, name) for name in _SAID}  # not there unless they are given
        if self.has_columns and isinstance(self.subject, str):
            said["subject_column"] = self.subject  # if it is one
        said["labels_elsewhere"] = True if self.labels is not None else None
        return (
            {name: it if it is False else it or None for name, it in kept.items()}
            | {"rate_hz": rate_hz}
            | {name: plain(it) for name, it in said.items() if it is not None and it != ()}
            | self._recorded_steps()
        )

    def _recorded_steps(self) -> dict[str, Any]:
        if not self.steps:
            return {}
        before = self.before_steps or Description.unknown()
        return {
            "steps": recorded_steps(self.steps),
            "before_steps": recorded_description(before),
        }

    @classmethod
    def from_recorded(
        cls, recorded: Mapping[str, Any], functions: Mapping[str, Any] | None = None
    ) -> Self:
        """Return the options that a store keeps; those that older versions do not name are unset.

        `label_every` is among them, in rows. `functions` are those that a step calls, by name,
        where they cannot be imported.
        """
        names = (*_RECORDED, *_SAID, "label_every")
        known = {name: recorded[name] for name in names if name in recorded}
        steps = steps_from_recorded(recorded.get("steps", ()), functions)
        return cls(
            **known, steps=steps, before_steps=description_from(recorded.get("before_steps"))
        )

    def or_else(self, stored: "SourceOptions") -> Self:
        """Return these options; those that say nothing, as in `stored`."""
        said = {
            name: getattr(self, name) or getattr(stored, name)
            for name in ("x", "axes", "channels", "rate_hz", "label_every")
        }
        said["y"] = stored.y if self.y is None and self.labels is None else self.y
        for name in _SAID:
            own = getattr(self, name)
            said[name] = getattr(stored, name) if own is None else own
        said |= {"steps": stored.steps, "before_steps": stored.before_steps}
        folders = stored.folders if self.folders == "auto" else self.folders
        return replace(self, folders=folders, **said)
