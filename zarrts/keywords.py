"""Names that people get wrong: keywords of other libraries, and typing errors."""

import inspect
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence

from zarrts.lists import listed

_MANY = 10
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

# Our names of the keywords of other libraries, in the functions that have them.
_OURS = {
    "random_state": "seed",
    "rng": "seed",
    "random_seed": "seed",
    "test_size": "test",
    "val_size": "val",
    "validation": "val",
    "validation_split": "val",
    "class_mode": "label_mode",
    "batch": "batch_size",
    "class_weight": "sample_weight",
    "weights": "sample_weight",
    "num_workers": "workers",
    "n_jobs": "workers",
    "subject": "subjects",
    "memory_limit": "memory",
    "chunks": "chunk",
    "shards": "shard",
    "compressor": "codec",
    "compression": "codec",
    "sampling_rate": "rate_hz",
    "fs": "rate_hz",
    "sfreq": "rate_hz",
    "data": "x",
    "force": "overwrite",
    "step": "stride",
    "sequence_stride": "stride",
    "sequence_length": "length",
    "hop_length": "stride",
    "start_index": "start",
    "end_index": "stop",
}
_NOTES = {
    "length": "the rows that a window spans: (sequence_length - 1) * sampling_rate + 1",
    "chunk": "a size such as '1MiB'",
    "sample_weight": "'class', or a dict of classes by name",
    "shard": "a size such as '64MiB'",
    "y": "the name of the array of labels",
    "x": "the name of the array of inputs",
    "test": "names, a count or a fraction of subjects",
    "val": "names, a count or a fraction of subjects",
    "stop": "the row before which windows end",
}
# The way to do what a keyword does that no function of ours has, or not this one.
_ELSEWHERE = {
    "random_state": "seed= where something is drawn: split, folds, batches, ZarrSequence",
    "validation_split": "samples.split(val=...), which keeps subjects whole",
    "subset": "samples.split(val=...), which returns both parts",
    "groups": "nothing: subjects are always kept whole",
    "n_splits": "folds(k)",
    "classes": "samples.select(classes=...)",
    "train": "val= and test=: what they leave trains",
    "train_size": "val= and test=: what they leave trains",
    "batch_size": "batch_size= of ZarrSequence or batches",
    "shuffle": "shuffle= of ZarrSequence or batches; which subjects are drawn depends on seed=",
    "target_size": "samples.windows(LENGTH), or pad=LENGTH",
    "epochs": "fit(epochs=...)",
    "use_multiprocessing": "workers=: threads of zarrts' own read ahead, and processes would each "
    "decode everything again",
    "max_queue_size": "memory=, which bounds what is read ahead in bytes",
    "mode": "nothing: a store is always opened for reading; convert, append and remove change it",
}


def refuse_unknown(
    function: Callable[..., object], unknown: Mapping[str, object], called: str | None = None
) -> None:
    """Raise the TypeError of an unknown keyword, with the name that the function has for it.

    Parameters
    ----------
    called : str, optional
        What users call the function, if that is not its name.
    """
    for name in unknown:
        parameters = inspect.signature(function).parameters.values()
        known = [it.name for it in parameters if it.kind not in _VARIABLE]
        name_of_function = called or function.__name__
        raise TypeError(f"{name_of_function}() has no keyword {name!r}{_remedy(name, known)}")


def refuse_positional(function: str, given: Sequence[object], *forms: str) -> None:
    """Raise the TypeError of a value without a keyword, with the keywords that it may belong to.

    Parameters
    ----------
    forms : str
        Keywords with a place for the value, such as "test={0}".
    """
    if given:
        value = reprlib.repr(given[0])
        keywords = ", or ".join(f"{function}({it.format(value)})" for it in forms)
        raise TypeError(f"{function}({value}) does not say what that is: write {keywords}.")


def _remedy(name: str, known: list[str]) -> str:
    ours = _OURS.get(name)
    if ours in known:
        return f"; use {ours}={f', {_NOTES[ours]}' if ours in _NOTES else ''}."
    if name in _ELSEWHERE:
        return f"; use {_ELSEWHERE[name]}."
    return "." + (did_you_mean(name, known) or f" It has {', '.join(known)}.")


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Return a question, with a space before it, that names what is spelled alike; or nothing."""
    texts = {str(it).casefold(): it for it in known}
    import difflib

    close = difflib.get_close_matches(str(name).casefold(), texts, n=1, cutoff=0.6)
    return f" Did you mean {texts[close[0]]!r}?" if close else ""


def unknown_names(
    head: str, names: Iterable[object], known: Iterable[object], what: str = "subjects"
) -> str:
    """Return the sentence of names that are unknown, and what was meant perhaps.

    Parameters
    ----------
    head : str
        How it begins, such as "No subject".
    """
    known = list(known)
    there, lacking = [str(it) for it in known], [str(it) for it in names]
    meant = "".join(dict.fromkeys(did_you_mean(it, known) for it in lacking[:_MANY]))
    return f"{head} named {first_names(lacking)}; the {what} are {first_names(there)}.{meant}"


def first_names(names: Sequence[object]) -> str:
    """Return the first of some names, and how many more there are, as part of a sentence."""
    return listed(names, _MANY)
