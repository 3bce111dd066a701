"""The scheme of labels: their classes, how they are stored, and how a network wants them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zarrts.errors import SampleError, SourceError
from zarrts.keywords import did_you_mean
from zarrts.labels.counting import MAX_CLASSES, LabelCounter
from zarrts.labels.merges import Merges
from zarrts.types import AnyArray, IntArray, Label

LabelMode = Literal["auto", "int", "categorical", "binary", "raw"]
Encoding = Literal["codes", "numbers", "one_hot", "several"]
_MAX_PLACES, _MAX_NUMBER = 1 << 12, 1 << 62
_WORDS = {
    "codes": "text",
    "numbers": "numbers",
    "one_hot": "one-hot rows",
    "several": "several arrays",
}


@dataclass(frozen=True, kw_only=True)
class LabelScheme:
    """The encoding of the labels of a store.

    Attributes
    ----------
    encoding : str
        "codes": text, stored as positions in `class_names`. "numbers": stored as given.
        "one_hot": rows with one 1, stored as given. "several": records of `parts`.
    dtype : numpy.dtype
        As stored.
    class_names : tuple of str, int or bool, or None
        The classes, or None where labels are not classes.
    allows_missing : bool
        Empty text is not a class but a label that is missing, and stored as -1.
    parts : dict
        Of several arrays of labels, the scheme of each by its name.
    merges : Merges, or None
        Where `class_names` are not those of the store, what became of these.
    missing : tuple
        Values, beside NaN, that stand for a label that is missing, where labels are not classes.
    """

    encoding: Encoding
    dtype: np.dtype[Any]
    class_names: tuple[Label, ...] | None
    allows_missing: bool = False
    parts: Mapping[str, "LabelScheme"] = field(default_factory=dict)
    merges: Merges | None = None
    missing: tuple[float, ...] = ()

    @property
    def names(self) -> list[Label] | None:
        """The classes as a list; None where labels are not classes."""
        return None if self.class_names is None else list(self.class_names)

    @property
    def indices(self) -> dict[Label, int] | None:
        """Position of each class; None where labels are not classes."""
        names = self.class_names
        return None if names is None else {name: code for code, name in enumerate(names)}

    @property
    def n_classes(self) -> int | None:
        """Number of classes; None where labels are not classes."""
        return None if self.class_names is None else len(self.class_names)

    def encode(self, block: AnyArray) -> AnyArray:
        """Return labels of the source as they are stored.

        Raises
        ------
        SourceError
            If a label is not a class: the source changed since its labels were counted.
        """
        if self.parts:
            records = np.empty(block.shape, self.dtype)
            for name, part in self.parts.items():
                records[name] = part.encode(block[name])
            return records
        if self.encoding != "codes":
            return block.astype(self.dtype, copy=False)
        positions = self._positions(block)
        is_unknown = positions < 0
        if self.allows_missing:
            is_unknown &= block != ""
        if is_unknown.any():
            value = block[is_unknown].reshape(-1)[0]
            raise SourceError(f"the label {value!s} was not there before; the file has changed")
        return positions.astype(self.dtype)

    def counts_by_class(self, counter: LabelCounter) -> IntArray:
        """Return how often each class occurs in a recording, shape (n_classes,)."""
        if self.encoding == "one_hot":
            return np.asarray(counter.column_counts)
        counts = counter.counts or Counter()
        return np.array([counts.get(name, 0) for name in self.class_names or ()], np.int64)

    @property
    def missing_values(self) -> tuple[int, ...]:
        """Stored values of single labels that stand for none; () where each value is a label."""
        merges = self.merges
        found = [-1] if self.encoding == "codes" else []
        if merges is not None and self.encoding != "one_hot":
            is_code = self.encoding == "codes"
            found += [
                code if is_code else int(name)
                for code, name in enumerate(merges.stored_names)
                if merges.codes[code] < 0
            ]
        return tuple(found)

    def classes_of(self, stored: AnyArray) -> IntArray:
        """Return the position in `class_names` of stored labels; -1 where one is missing."""
        if self.encoding == "codes":
            found = stored.astype(np.int64)
        elif self.encoding == "one_hot":
            found = np.asarray(stored.argmax(axis=-1), np.int64)
        else:
            found = self._positions(stored)
        return found if self.merges is None else self.merges.new_of(found)

    def is_missing(self, stored: AnyArray) -> NDArray[np.bool_]:
        """Return which labels are missing: NaN, no class, or one of the values that mean so."""
        if self.class_names is not None:
            return np.asarray(self.classes_of(stored) < 0)
        is_missing = np.isin(stored, self.missing) if self.missing else np.zeros(stored.shape, bool)
        return is_missing | np.isnan(stored) if stored.dtype.kind == "f" else is_missing

    def merged(self, classes: Mapping[Label, Sequence[Label] | Label]) -> "LabelScheme":
        """Return a scheme of other classes; see `Merges.of`."""
        if self.class_names is None:
            raise SampleError("These labels are numbers, not classes; select by ids instead.")
        merges = Merges.of(self.class_names, classes, self.merges)
        return replace(self, class_names=tuple(classes), merges=merges)

    def _positions(self, values: AnyArray) -> IntArray:
        ordered, order = self._sorted_names
        if len(ordered) == 0:
            return np.full(values.shape, -1, np.int64)
        if self._places is not None and np.can_cast(values.dtype, np.int64):
            # What is no class comes to one of the ends.
            numbers = values.astype(np.int64) - (int(ordered[0]) - 1)
            return self._places[np.minimum(np.maximum(numbers, 0), len(self._places) - 1)]
        found = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
        return np.where(ordered[found] == values, order[found], -1)

    @cached_property
    def _places(self) -> IntArray | None:
        """The position of each integer from the least class to the greatest, with -1 at both ends.

        None where classes are no integers, or lie far apart.
        """
        ordered, order = self._sorted_names
        if ordered.dtype != np.int64:
            return None
        first, last = int(ordered[0]), int(ordered[-1])
        if last - first >= _MAX_PLACES or abs(first) > _MAX_NUMBER:
            return None
        places = np.full(last - first + 3, -1, np.int64)
        places[ordered - ordered[0] + 1] = order
        return places

    @cached_property
    def _sorted_names(self) -> tuple[AnyArray, IntArray]:
        stored = self.class_names if self.merges is None else self.merges.stored_names
        names = np.array(stored)
        order = np.argsort(names)
        return names[order], order


def scheme_of(
    counters: Sequence[LabelCounter],
    dtypes: Sequence[np.dtype[Any]],
    class_names: Sequence[Label] | None = None,
    *,
    allows_missing: bool = False,
) -> LabelScheme:
    """Return how the labels of a whole study are encoded.

    Parameters
    ----------
    class_names : sequence of str or int, optional
        All classes that labels may name, in their order; sorted as they occur by default.
    allows_missing : bool
        Empty text is not a class.

    Raises
    ------
    SourceError
        If text has more than 1,000 different values, or others than `class_names`.
    """
    scheme = _found_scheme(counters, dtypes)
    if scheme.encoding == "codes" and allows_missing:
        names = tuple(name for name in scheme.class_names or () if name != "")
        scheme = replace(scheme, class_names=names, allows_missing=True)
    if class_names is None:
        return scheme
    if scheme.encoding == "numbers" and scheme.dtype.kind in "iu":
        class_names = _as_numbers(class_names)
    elif scheme.encoding != "codes":
        raise SourceError(
            f"class_names= orders labels that are text, folders or integers, but these are "
            f"{_WORDS[scheme.encoding]}; leave class_names= out."
        )
    unknown = [str(name) for name in scheme.class_names or () if name not in class_names]
    if unknown:
        raise SourceError(
            f"The labels {', '.join(unknown[:20])} are none of class_names= "
            f"({', '.join(map(str, class_names))}); add them there."
            + "".join(did_you_mean(it, class_names) for it in unknown[:20])
        )
    return replace(scheme, class_names=tuple(class_names))


def _as_numbers(names: Sequence[Label]) -> tuple[int, ...]:
    try:
        return tuple(int(name) for name in names)
    except ValueError as error:
        raise SourceError(
            f"class_names= has to list the labels as they are, and these are numbers, not "
            f"{', '.join(map(str, names[:20]))}; new names for classes are given with "
            "samples.select(classes={'sit': [0], ...})."
        ) from error


def joint_scheme(
    parts: Mapping[str, LabelScheme], shapes: Mapping[str, tuple[int, ...]]
) -> LabelScheme:
    """Return the scheme of several arrays of labels, from that of each and the shape of a row."""
    dtype = np.dtype([(name, it.dtype, shapes[name]) for name, it in parts.items()])
    return LabelScheme(encoding="several", dtype=dtype, class_names=None, parts=parts)


def _found_scheme(counters: Sequence[LabelCounter], dtypes: Sequence[np.dtype[Any]]) -> LabelScheme:
    stored = np.result_type(*dtypes)
    if counters[0].kind == "fractions" or stored.kind == "f":
        is_one_hot = all(counter.is_one_hot for counter in counters)
        columns = tuple(range(len(counters[0].column_counts)))
        return LabelScheme(
            encoding="one_hot" if is_one_hot else "numbers",
            dtype=stored,
            class_names=columns if is_one_hot else None,
        )
    if all(counter.is_one_hot for counter in counters):
        columns = tuple(range(len(counters[0].column_counts)))
        return LabelScheme(encoding="one_hot", dtype=stored, class_names=columns)
    distinct: set[Label] = set()
    for counter in counters:
        if counter.counts is not None:
            distinct |= counter.counts.keys()
    has_too_many = len(distinct) > MAX_CLASSES or any(it.counts is None for it in counters)
    if stored.kind == "U":
        if has_too_many:
            raise SourceError(
                f"The labels are text with more than {MAX_CLASSES:,} different values, which are "
                "no classes; name the array that holds the labels with y=, or store numbers."
            )
        stored = np.dtype(np.int32)
        return LabelScheme(encoding="codes", dtype=stored, class_names=_sorted(distinct))
    names = None if has_too_many else _sorted(distinct)
    return LabelScheme(encoding="numbers", dtype=stored, class_names=names)


def extended(
    scheme: LabelScheme, counters: Sequence[LabelCounter], dtypes: Sequence[np.dtype[Any]]
) -> LabelScheme:
    """Return the scheme of a store to which more labels are added; new classes go to the end.

    Raises
    ------
    SourceError
        If the labels cannot be stored as those that are there.
    """
    found = scheme_of(counters, dtypes, allows_missing=scheme.allows_missing)
    is_chance = scheme.encoding == "numbers" and found.encoding == "one_hot"
    if found.encoding != scheme.encoding and not is_chance:
        raise SourceError(
            f"The new labels are {_WORDS[found.encoding]}, but those in the store are "
            f"{_WORDS[scheme.encoding]}; save them alike."
        )
    if scheme.encoding == "one_hot" and found.class_names != scheme.class_names:
        raise SourceError(
            f"The new labels have {len(found.class_names or ())} columns, but those in the store "
            f"{len(scheme.class_names or ())}; save them alike."
        )
    if not np.can_cast(found.dtype, scheme.dtype) and not _all_fit(counters, scheme.dtype):
        raise SourceError(
            f"The new labels are {found.dtype.name}, which do not all fit the store's "
            f"{scheme.dtype.name}; save them alike."
        )
    if scheme.class_names is None or scheme.encoding == "one_hot":
        return scheme
    if found.class_names is None:
        raise SourceError(
            f"The new labels have more than {MAX_CLASSES:,} different values, but those in the "
            f"store are {len(scheme.class_names)} classes; save them alike."
        )
    kind = type(scheme.class_names[0]) if scheme.class_names else str
    new = [kind(name) for name in found.class_names if name not in scheme.class_names]
    return replace(scheme, class_names=(*scheme.class_names, *new))


def _all_fit(counters: Sequence[LabelCounter], dtype: np.dtype[Any]) -> bool:
    if dtype.kind not in "iu" or any(it.counts is None for it in counters):
        return False
    limits = np.iinfo(dtype)
    values = [int(value) for it in counters for value in it.counts or ()]
    return all(limits.min <= value <= limits.max for value in values)


def _sorted(names: set[Label]) -> tuple[Label, ...]:
    return tuple(np.unique(np.array(list(names))).tolist())


def target_function(
    scheme: LabelScheme, mode: LabelMode
) -> tuple[Callable[[AnyArray], AnyArray], str]:
    """Return what turns stored labels into targets, and the mode that "auto" stands for.

    "int" gives int32 positions in the class names, "categorical" float32 rows with one 1,
    "binary" float32 of shape (batch, 1), "raw" what is stored. "auto" is "int" for classes,
    "categorical" for rows that are one-hot already, and "raw" for other numbers.

    Raises
    ------
    SampleError
        If the mode does not fit the labels.
    """
    names = scheme.class_names
    if mode == "auto":
        mode = "categorical" if scheme.encoding == "one_hot" else "int" if names else "raw"
    if mode == "raw":
        return lambda stored: stored, mode
    if mode not in ("int", "categorical", "binary"):
        raise SampleError(
            f"label_mode={mode!r} is unknown; use 'auto', 'int', 'categorical', 'binary', 'raw' "
            "or None."
        )
    if names is None:
        raise SampleError(
            f"label_mode={mode!r} needs classes, but these labels are numbers; use 'raw', or if "
            "they are classes saved as floats, convert with class_names=[0, 1, ...]."
        )
    if mode == "int":
        return lambda stored: scheme.classes_of(stored).astype(np.int32), mode
    if mode == "binary":
        if len(names) != 2:
            raise SampleError(
                f"label_mode='binary' needs two classes, but there are {len(names)}; "
                "use 'int' or 'categorical'."
            )
        return lambda stored: scheme.classes_of(stored).astype(np.float32)[..., None], mode
    # A label that is missing is -1, and gets the last row, of zeros.
    identity = np.eye(len(names) + 1, len(names), dtype=np.float32)
    return lambda stored: identity[scheme.classes_of(stored)], mode
