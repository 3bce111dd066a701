"""Nothing is loaded whole: the memory that converting 300 MB takes, for each kind of file."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import scipy.io
import zarr

import zarrts

MOST_BYTES = 128 << 20
N_ROWS, N_CHANNELS = 2_400_000, 32  # 307 MB of float32

RUN = """
import resource, sys
import dask.array, h5py, numcodecs, numpy as np, scipy.io, zarr
import zarrts, zarrts.conversion.run, zarrts.conversion.prepare
try:
    import soundfile
except ImportError:
    pass

def peak():
    lines = open("/proc/self/status").read().split("VmHWM:")[1]
    return int(lines.split()[0]) * 1024

zarrts.convert(sys.argv[3], sys.argv[2] + ".small", progress=False, **eval(sys.argv[4])).close()
open("/proc/self/clear_refs", "w").write("5")
before = peak()
options = {"memory": "96MiB", "workers": 1, "progress": False, "pack": False}
zarrts.convert(sys.argv[1], sys.argv[2], **options, **eval(sys.argv[4])).close()
print(peak() - before)
"""


def signal(n_rows):
    row = np.arange(n_rows, dtype=np.float32)[:, None] % 1000
    return (row + np.arange(N_CHANNELS, dtype=np.float32)).astype(np.float32)


def write_zarr(folder, n_rows):
    group = zarr.open_group(folder / "s01.zarr", mode="w")
    options = {"chunks": (20_000, N_CHANNELS), "dimension_names": ("time", "channel")}
    group.create_array("x", data=signal(n_rows), **options)
    return {"y": False}


def write_sharded(folder, n_rows):
    group = zarr.open_group(folder / "s01.zarr", mode="w")
    options = {"chunks": (N_CHANNELS, 4000), "shards": (N_CHANNELS, 200_000)}
    names = ("channel", "time")
    group.create_array("x", data=signal(n_rows).T.copy(), dimension_names=names, **options)
    return {"y": False}


def write_store(folder, n_rows):
    recording = zarrts.Recording("s01", signal(n_rows), np.arange(n_rows) // 1000 % 2)
    zarrts.convert(recording, folder / "a.zarr", kind="ragged", progress=False, pack=False).close()
    return {}


def write_struct(folder, n_rows):
    scipy.io.savemat(folder / "s01.mat", {"S": {"data": signal(n_rows)}})
    return {"x": "S.data", "y": False, "kind": "ragged"}


def write_packed_struct(folder, n_rows):
    content = {"S": {"data": signal(n_rows)}}
    scipy.io.savemat(folder / "s01.mat", content, do_compression=True)
    return {"x": "S.data", "y": False, "kind": "ragged"}


def write_eeglab(folder, n_rows):
    numbers = {"nbchan": float(N_CHANNELS), "pnts": float(n_rows), "trials": 1.0, "srate": 100.0}
    with open(folder / "s01.set", "wb") as file:
        scipy.io.savemat(file, {"EEG": {**numbers, "data": "s01.fdt"}})
    signal(n_rows).tofile(folder / "s01.fdt")
    return {"y": False}


def write_sound(folder, n_rows):
    soundfile = pytest.importorskip("soundfile", reason="pip install 'zarrts[audio]'")
    scaled = signal(n_rows)[:, :16] / 2000
    soundfile.write(folder / "s01.wav", np.concatenate([scaled] * 2), 8000, subtype="FLOAT")
    return {"y": False}


WRITERS = {
    "Zarr": write_zarr,
    "Zarr, sharded, (channel, time)": write_sharded,
    "store": write_store,
    "struct": write_struct,
    "packed struct": write_packed_struct,
    "EEGLAB": write_eeglab,
    "WAV": write_sound,
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("kind", WRITERS)
def test_converting_300_mb_takes_less_than_128_mib(tmp_path, kind):
    for name, n_rows in (("large", N_ROWS), ("small", 3000)):
        (tmp_path / name).mkdir()
        options = WRITERS[kind](tmp_path / name, n_rows)
    source, small = tmp_path / "large", tmp_path / "small"
    if kind == "store":
        source, small = source / "a.zarr", small / "a.zarr"
    done = subprocess.run(
        [
            *(sys.executable, "-c", textwrap.dedent(RUN)),
            *(str(source), str(tmp_path / "out.zarr"), str(small), repr(options)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    grown = int(done.stdout.split()[-1])
    print(f"{kind}: {grown / 2**20:.0f} MiB")
    assert grown < MOST_BYTES
