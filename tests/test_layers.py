"""Layers are sets of packages and modules, and import from lower ones only."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
import pytest

import zarrts

PACKAGE = Path(zarrts.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def rows_of_the_table(head="| rows below import"):
    """Return the names in each row of a layout in CONTRIBUTING.md, the lowest first."""
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text("utf-8")
    table = text.split(head)[1].split("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]
    return [{name.rstrip("/") for name in re.findall(r"`([^`]+)`", row)} for row in rows]


LAYERS = rows_of_the_table()
ROOMS = {"sources": rows_of_the_table("| rooms of `sources/`")}
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
# Their methods import what stands above them, each inside the method.
HELD_BY_USERS = {"samples", "store", "study"}
CONVERSION = {"sources", "conversion"}
TRAINING = {"ordering", "reading", "loading"}


def name_of(path):
    """Return the name below zarrts: of the package that a module is in, or of the module."""
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
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def ours(path, anywhere=True):
    return {
        (line, module.split(".")[1])
        for line, module in imported(path, anywhere)
        if module.startswith("zarrts.")
    }


def test_every_module_has_a_layer_and_every_layer_a_module():
    assert {name_of(path) for path in MODULES} - {"__init__"} == set(LAYER_OF)
    assert sum(map(len, LAYERS)) == len(LAYER_OF)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_package_and_lower_layers(path):
    name = name_of(path)
    if name == "__init__":
        return  # knows every public name, and imports it when it is asked for
    for line, other in ours(path, anywhere=name not in HELD_BY_USERS):
        if name == other:
            continue
        assert LAYER_OF[other] < LAYER_OF[name], f"{path}:{line}: {name} imports {other}"


@pytest.mark.parametrize("package", ROOMS)
def test_a_room_of_a_package_imports_only_from_itself_and_lower_rooms(package):
    level = {room: number for number, rooms in enumerate(ROOMS[package]) for room in rooms}
    folder = PACKAGE / package
    paths = [path for path in MODULES if path.is_relative_to(folder) and path.parent != PACKAGE]
    rooms = {path: path.relative_to(folder).with_suffix("").parts[0] for path in paths}
    assert {*rooms.values()} - {"__init__"} == {*level}
    for path, room in rooms.items():
        if room == "__init__":
            continue  # hands out what the rooms hold
        for line, module in imported(path):
            parts = module.split(".")
            if parts[:2] != ["zarrts", package]:
                continue
            assert len(parts) > 2, f"{path}:{line}: imports {module}, and with it all rooms"
            other = parts[2]
            assert other in level, f"{path}:{line}: takes {other} from above all rooms"
            assert level[other] <= level[room], f"{path}:{line}: {room} imports {other}"


def dotted(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_modules_of_a_package_do_not_import_each_other_in_a_circle():
    names = {dotted(path) for path in MODULES}
    imports = {}
    for path in MODULES:
        anywhere = name_of(path) not in HELD_BY_USERS
        found = {name for _, name in imported(path, anywhere)}
        found |= {name.rpartition(".")[0] for name in found - names}
        imports[dotted(path)] = found & names - {"zarrts"}
    # graphlib raises CycleError, and names the modules of the circle.
    assert set(TopologicalSorter(imports).static_order()) >= names - {"zarrts"}


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
    assert not reachable("loading") & CONVERSION
    assert not reachable("store") & CONVERSION
    assert "storage" in reachable("conversion") & reachable("store")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_method_waits_for_a_subclass_elsewhere(path):
    assert "raise NotImplementedError" not in path.read_text("utf-8"), "a hidden import"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_frameworks_are_imported_inside_functions(path):
    if path == PACKAGE / "conversion" / "worker_plugin.py":
        return  # a worker's side, imported where distributed is there already
    slow = HEAVY - {"numcodecs"}
    for line, module in imported(path, anywhere=False):
        assert module.split(".")[0] not in slow, f"{path}:{line}: imports {module}"


def loaded_by(code):
    code += "\nimport sys\nprint(*{name.split('.')[0] for name in sys.modules})"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240
    )
    return set(run.stdout.split())


def test_import_zarrts_is_light():
    assert not loaded_by("import zarrts") & HEAVY


def test_opening_names_for_conversion_and_training_pulls_in_no_framework():
    frameworks = HEAVY - {"dask", "zarr", "numcodecs"}
    loaded = loaded_by("from zarrts import convert, open, Samples, Store, Recording, Batch")
    assert not loaded & frameworks


# Each takes a tenth of a second or more to import.
SLOW_TO_OPEN = HEAVY | {"asyncio", "awscrt", "obstore", "fsspec", "pandas", "scipy"}


@pytest.fixture(scope="module")
def small_store(tmp_path_factory):
    path = tmp_path_factory.mktemp("opened") / "small.zarr"
    recordings = [
        zarrts.Recording(f"s{i}", np.random.default_rng(i).normal(size=(40, 6, 2)), np.arange(40))
        for i in range(2)
    ]
    zarrts.convert(recordings, path, progress=False).close()
    return path


def test_opening_a_store_waits_for_no_slow_import(small_store):
    loaded = loaded_by(f"import zarrts\nzarrts.open({str(small_store)!r}).close()")
    assert "zarrts" in loaded
    assert not loaded & SLOW_TO_OPEN


@pytest.mark.parametrize(
    "code",
    [
        "next(iter(zarrts.open(PATH).samples.batches(32, shuffle=True)))",
        "zarrts.open(PATH).samples.stats()",
        "from zarrts.cli import main\ntry:\n    main(['info', PATH])\nexcept SystemExit: pass",
    ],
    ids=["first batch", "statistics", "info"],
)
def test_what_is_done_first_with_a_store_needs_no_zarr(small_store, code):
    loaded = loaded_by(f"import zarrts\nPATH = {str(small_store)!r}\n{code}")
    assert not loaded & (SLOW_TO_OPEN - {"numcodecs"})  # which decodes


def test_converting_without_a_cluster_does_not_import_distributed(tmp_path):
    code = f"""
import numpy as np
import zarrts
recording = zarrts.Recording("s1", np.zeros((4, 3, 1)), np.arange(4))
zarrts.convert([recording], {str(tmp_path / "a.zarr")!r}, progress=False).close()
"""
    assert loaded_by(code) & {"dask", "distributed"} == {"dask"}


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
    if path.name in ("samples.py", "sequence.py"):
        return  # what users call in one place, most of it docstrings
    assert len(path.read_text("utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))
