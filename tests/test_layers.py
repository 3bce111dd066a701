"""Who may import whom: the table below is DESIGN.md's, one set a layer, the lowest first."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import zarrts

PACKAGE = Path(zarrts.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))

LAYERS = [
    {"errors", "types", "sizes", "keyed", "keywords", "system", "progress", "backend", "markup"},
    {"addresses", "chunk_cache"},
    {"bucket"},
    {"objects"},
    {"lease"},
    {"location", "merges"},
    {
        "checks",
        "transforms",
        "plan",
        "ranks",
        "indexes",
        "sketches",
        "timecuts",
        "stratified",
        "order",
        "moments",
        "labels",
        "segments",
        "shards",
        "casting",
        "arguments",
        "crew",
        "sources",
    },
    {"encoded"},
    {"ranged"},
    {
        "losses",
        "label_sets",
        "statistics",
        "samples",
        "cuts",
        "splits",
        "rolling",
        "uniform",
        "blocks",
        "listed",
        "store",
        "chunks",
        "journal",
    },
    {
        "balance",
        "joined",
        "table",
        "memory",
        "padding",
        "windows",
        "scaling",
        "cost",
        "occurrences",
    },
    {
        "sampling",
        "publish",
        "targets",
        "catalog",
        "finish",
        "sample_reader",
        "stored",
        "matching",
        "places",
    },
    {"read_ahead"},
    {"options", "grouping", "survey", "tasks", "contents", "reading", "schedule", "measuring"},
    {
        "balancing",
        "results",
        "split_files",
        "prepare",
        "gathering",
        "nans",
        "presence",
        "inspection",
        "recordwise",
        "remote",
    },
    {"cluster", "removal", "disjoint", "verification", "stream", "measured"},
    {"conversion", "glance", "splitting", "windowing", "repairing", "loader", "labelling"},
    {"passes"},
    {"torch_dataset"},
    {"batched"},
    {"selection"},
    {"study", "weights", "adapter", "position", "spec", "tf_dataset"},
    {"api", "dataset", "looping", "source_scaling", "describe"},
    {"keras"},
    {"bench", "demo", "resume", "prediction", "report"},
    {"cli"},
]
LAYER_OF = {module: number for number, modules in enumerate(LAYERS) for module in modules}
HEAVY = {
    "keras",
    "tensorflow",
    "torch",
    "jax",
    "dask",
    "distributed",
    "zarr",
    "h5py",
    "matplotlib",
    "numcodecs",
}
NEED_KERAS = {"ZarrSequence", "BackupAndRestore", "SubjectMetrics", "evaluate", "predict"}
MODULES_FOR_USERS = {"transforms"}
CONVERSION = {"sources", "plan", "survey", "prepare", "tasks", "conversion", "publish", "targets"}
TRAINING = {
    "order",
    "rolling",
    "uniform",
    "listed",
    "balance",
    "sampling",
    "memory",
    "schedule",
    "gathering",
    "stream",
    "loader",
    "finish",
}


def name_of(path):
    """Return the module's name below zarrts; all of sources/ is one."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path, anywhere=True):
    """Return (line, module) of what a file imports; `anywhere` also inside functions."""
    tree = ast.parse(path.read_text("utf-8"))
    nodes = ast.walk(tree) if anywhere else iter(tree.body)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            if node.module == "zarrts":
                yield from ((node.lineno, f"zarrts.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module


def ours(path):
    return {
        (line, module.split(".")[1])
        for line, module in imported(path)
        if module.startswith("zarrts.")
    }


def test_every_module_has_a_layer_and_every_layer_a_module():
    assert {name_of(path) for path in MODULES} - {"__init__"} == set(LAYER_OF)
    assert sum(map(len, LAYERS)) == len(LAYER_OF)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_lower_layers(path):
    name = name_of(path)
    if name == "__init__":
        return  # knows every public name, and imports it when it is asked for
    for line, other in ours(path):
        if name == other and name in ("sources", "report"):
            continue
        assert LAYER_OF[other] < LAYER_OF[name], f"{path}:{line}: {name} imports {other}"


def reachable(name):
    """Return all modules that importing one brings with it, wherever it imports."""
    found, todo = set(), {name}
    while todo:
        module = todo.pop()
        found.add(module)
        for path in MODULES:
            if name_of(path) == module:
                todo |= {other for _, other in ours(path)} - found
    return found


def test_conversion_and_training_meet_only_in_the_schema():
    assert not reachable("conversion") & TRAINING
    assert not reachable("loader") & CONVERSION
    assert not reachable("study") & CONVERSION
    assert "store" in reachable("conversion") & reachable("study")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_frameworks_are_imported_inside_functions(path):
    if name_of(path) == "remote":
        return  # a worker's side, imported where distributed is there already
    slow = HEAVY - {"numcodecs"}
    for line, module in imported(path, anywhere=False):
        assert module.split(".")[0] not in slow, f"{path}:{line}: imports {module}"


def loaded_by(code):
    code += "\nimport sys\nprint(*{name.split('.')[0] for name in sys.modules})"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(run.stdout.split())


def test_import_zarrts_is_light():
    assert not loaded_by("import zarrts") & HEAVY


def test_opening_names_for_conversion_and_training_pulls_in_no_framework():
    frameworks = HEAVY - {"dask", "zarr", "numcodecs"}
    loaded = loaded_by("from zarrts import convert, open, Samples, Store, Recording, Batch")
    assert not loaded & frameworks


def test_every_public_name_is_there_and_listed():
    for name in zarrts.__all__:
        assert name in dir(zarrts)
        if name not in NEED_KERAS:
            found = getattr(zarrts, name)
            home = found.__name__ if name in MODULES_FOR_USERS else found.__module__
            assert home.startswith("zarrts.")
    with pytest.raises(AttributeError, match="module 'zarrts' has no attribute 'nothing'"):
        _ = zarrts.nothing


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_is_longer_than_400_lines(path):
    assert len(path.read_text("utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))
