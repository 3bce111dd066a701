"""Arrays in groups, as HDF5 and Zarr have them: which of them are a recording together."""

from typing import TypeVar

from zarrts.sources.source_options import SourceOptions

_Array = TypeVar("_Array")


def grouped(datasets: dict[str, _Array], options: SourceOptions) -> dict[str, dict[str, _Array]]:
    """Return the arrays of each recording by their names in it; "" is all of the file."""
    arrays = [it for some in options.inputs.values() for it in some]
    arrays += [options.input_name] if options.input_name is not None else []
    asked = arrays + ([options.label_name] if options.label_name is not None else [])
    if arrays and (len(asked) > len(arrays) or options.is_unlabelled):
        # Paths in each group, such as x="raw/eeg", y="stages".
        tops = [
            {f"/{path}".removesuffix(f"/{name}") for path in datasets if _ends(path, name)}
            for name in asked
        ]
        groups = sorted(set.intersection(*tops))
        if len(groups) > 1 or (groups and options.is_unlabelled):
            return {top[1:]: _below(datasets, top[1:]) for top in groups}
    parents: dict[str, list[str]] = {}
    for path in datasets:
        parents.setdefault(path.rpartition("/")[0], []).append(path)
    if "" in parents:
        return {"": datasets}
    if len(parents) == 1:
        (top,) = parents
        return {"": _below(datasets, top)}
    return {top: _below(datasets, top) for top in parents}


def _ends(path: str, name: str) -> bool:
    return f"/{path}".endswith(f"/{name}")


def _below(datasets: dict[str, _Array], top: str) -> dict[str, _Array]:
    start = f"{top}/" if top else ""
    return {path.removeprefix(start): it for path, it in datasets.items() if path.startswith(start)}
