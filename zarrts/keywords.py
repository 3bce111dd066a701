"""Keywords that people bring along from other libraries, and what they are called here."""

from collections.abc import Mapping

_OURS = {
    "random_state": "seed=",
    "rng": "seed=",
    "validation_split": "samples.split(val=...), which keeps subjects whole",
    "subset": "samples.split(val=...), which returns both parts",
    "test_size": "test= (names, a count or a fraction of subjects)",
    "val_size": "val= (names, a count or a fraction of subjects)",
    "validation": "val=",
    "groups": "nothing: subjects are always kept whole",
    "n_splits": "folds(k)",
    "class_mode": "label_mode=",
    "classes": "samples.select(classes=...)",
    "batch": "batch_size=",
    "num_workers": "workers=",
    "use_multiprocessing": "workers=: threads of zarrts' own read ahead, and processes would each "
    "decode everything again",
    "max_queue_size": "memory=, which bounds what is read ahead in bytes",
    "chunks": "chunk=, a size such as '1MiB'",
    "shards": "shard=, a size such as '64MiB'",
    "compressor": "codec=",
    "compression": "codec=",
    "n_jobs": "workers=",
    "memory_limit": "memory=",
    "force": "overwrite=True",
    "sampling_rate": "rate_hz= in convert",
    "fs": "rate_hz=",
    "sfreq": "rate_hz=",
    "labels": "y=, the name of the array of labels",
    "data": "x=, the name of the array of inputs",
}


def refuse_unknown(function: str, unknown: Mapping[str, object]) -> None:
    """Raise the TypeError of an unknown keyword, with the name that zarrts uses for it."""
    for name in unknown:
        known = f"; use {_OURS[name]}" if name in _OURS else ""
        raise TypeError(f"{function}() has no keyword {name!r}{known}.")
