"""Measure how fast shuffled batches come out of zarrts and of other loaders.

    python benchmarks/loading.py --work DIR [--rounds 5] [--only ours,memmap] [--out FILE.json]

Makes the samples and each loader's own files once, below DIR (about 7 GB); measures every loader
in a fresh process, round after round, A B C A B C; prints a table and writes JSON and a plot.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from measure import in_fresh_process, machine
from peers import PEERS, Peer
from report import plot, table
from work import N_SAMPLES, N_SUBJECTS, Source, make_source

HERE = Path(__file__).resolve().parent
DISTRIBUTIONS = (
    "numpy",
    "zarr",
    "numcodecs",
    "zarrs",
    "zarrts",
    "tensorflow",
    "tensorstore",
    "annbatch",
    "insitubatch",
    "grain",
    "array_record",
    "h5py",
    "torch",
)
PREPARE_LIMIT_S, EXTRA_S = 3600.0, 300.0


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all files; kept")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3, help="epochs of each measurement")
    parser.add_argument(
        "--only", help="keys, separated by commas: " + ",".join(p.key for p in PEERS)
    )
    parser.add_argument("--cap", type=float, default=30.0, help="seconds of one measurement")
    parser.add_argument("--samples", type=int, default=N_SAMPLES)
    parser.add_argument("--subjects", type=int, default=N_SUBJECTS)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument(
        "--data",
        choices=("int16grid", "float32"),
        default="int16grid",
        help="16-bit counts times a gain, as recorders save them; or floats on no grid",
    )
    parser.add_argument("--out", type=Path, help="JSON (default: WORK/results.json)")
    parser.add_argument("--plot", type=Path, help="PNG of the table")
    args = parser.parse_args()
    if args.epochs < 2:
        parser.error("--epochs must be at least 2: the first is told apart from the later ones")
    args.work = args.work.resolve()
    args.out = args.out or args.work / "results.json"
    return args


def chosen(only: str | None) -> list[Peer]:
    """The peers of `--only`, in the order of the registry."""
    if only is None:
        return list(PEERS)
    keys = set(only.split(","))
    if unknown := keys - {peer.key for peer in PEERS}:
        raise SystemExit(f"--only: no loader {', '.join(sorted(unknown))}")
    return [peer for peer in PEERS if peer.key in keys]


def source_of(args: argparse.Namespace) -> Source:
    """The source files, made at the first run; their size is part of the folder's name."""
    data = "" if args.data == "int16grid" else f"-{args.data}"
    folder = args.work / f"{args.samples}x{args.subjects}{data}" / "source"
    if not (folder.parent / "source.done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        make_source(folder, args.samples, args.subjects, args.data)
        (folder.parent / "source.done").touch()
    return Source(folder)


def prepare(peer: Peer, source: Source) -> dict[str, Any]:
    """Write the peer's own files unless they are there; timed, not counted."""
    folder = source.folder.parent / peer.store
    done = folder.parent / f"{peer.store}.done"
    if done.exists():
        return dict(json.loads(done.read_text()))
    shutil.rmtree(folder, ignore_errors=True)
    command = [str(HERE / "one_loader.py"), "prepare", peer.key]
    command += ["--folder", str(folder), "--source", str(source.folder)]
    result = in_fresh_process(command, folder.parent / "prepare.json", PREPARE_LIMIT_S)
    if "error" not in result:
        result["bytes"] = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        done.write_text(json.dumps(result))
    return result


def warm(folder: Path) -> None:
    """Read every file once, so that the page cache holds it."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(8 << 20):
                    pass


def measure(peer: Peer, source: Source, number: int, args: argparse.Namespace) -> dict[str, Any]:
    folder = source.folder.parent / peer.store
    warm(folder)
    command = [str(HERE / "one_loader.py"), "measure", peer.key, "--round", str(number)]
    command += ["--folder", str(folder), "--source", str(source.folder)]
    command += ["--epochs", str(args.epochs), "--cap", str(args.cap)]
    command += ["--batch-size", str(args.batch_size)]
    return in_fresh_process(command, folder.parent / "measure.json", args.cap + EXTRA_S)


def start_results(args: argparse.Namespace, peers: list[Peer], source: Source) -> dict[str, Any]:
    """Everything but the rounds: machine, work, and what preparing each loader took."""
    (source.folder.parent / "ours.done").unlink(missing_ok=True)  # today's zarrts converts anew
    loaders: dict[str, Any] = {}
    for peer in peers:
        entry: dict[str, Any] = {"title": peer.title, "note": peer.note, "rounds": []}
        if peer.missing:
            entry["missing"] = list(peer.missing)
        else:
            entry["prepare"] = prepare(peer, source)
            print(f"prepared {peer.key}: {_seconds(entry['prepare'])}", flush=True)
        loaders[peer.key] = entry
    work = {
        "samples": args.samples,
        "subjects": args.subjects,
        "sample_shape": [128, 32],
        "batch_size": args.batch_size,
        "rounds": args.rounds,
        "epochs": args.epochs,
        "cap_s": args.cap,
    }
    return {"machine": machine(DISTRIBUTIONS), "work": work, "loaders": loaders}


def _seconds(result: dict[str, Any]) -> str:
    return str(result.get("error") or f"{result['seconds']:.1f} s, {result['bytes'] / 1e9:.2f} GB")


def _speed(result: dict[str, Any]) -> str:
    if "error" in result:
        return str(result["error"])
    rates = [f"{e['samples'] / e['seconds']:,.0f}" for e in result["epochs"]]
    return f"{', '.join(rates)} samples/s, peak {result['peak_bytes'] / (1 << 20):,.0f} MiB"


def main() -> None:
    args = options()
    peers = chosen(args.only)
    source = source_of(args)
    results = start_results(args, peers, source)
    for number in range(args.rounds):
        for peer in peers:
            entry = results["loaders"][peer.key]
            if "missing" in entry:
                continue
            if "error" in entry["prepare"]:
                entry["rounds"] = [entry["prepare"]]
                continue
            found = measure(peer, source, number, args)
            entry["rounds"].append(found)
            print(f"round {number + 1} {peer.key}: {_speed(found)}", flush=True)
            args.out.write_text(json.dumps(results, indent=1))
    args.out.write_text(json.dumps(results, indent=1))
    print("\n" + table(results))
    if args.plot:
        plot(results, args.plot)


if __name__ == "__main__":
    main()
