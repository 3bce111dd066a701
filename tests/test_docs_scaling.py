"""The snippets of docs/scaling.md run."""

import re
import warnings
from pathlib import Path

import numpy as np

import zarrts

DOCS = Path(__file__).parents[1] / "docs"


def test_snippets_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    recordings = [
        zarrts.Recording(f"s{i:02d}", rng.normal(size=(20, 16, 2)) + i, np.arange(20) % 2)
        for i in range(1, 6)
    ]
    found = re.findall(
        r"^```python\n(.*?)^```", (DOCS / "scaling.md").read_text("utf-8"), re.M | re.S
    )
    with (
        zarrts.convert(recordings, "study.zarr", progress=False) as store,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        scope = {"zarrts": zarrts, "store": store}
        for code in found:
            exec(code, scope)
        x = np.concatenate([it.x for it in recordings if it.subject in scope["train"].subjects])
        np.testing.assert_allclose(scope["stats"].mean, x.mean(axis=(0, 1)), rtol=1e-6)
        batch, _ = scope["test_seq"][0]
        assert abs(batch.mean(axis=(0, 1))).max() < 0.3  # s03 by itself, and not by the others
        for name in ("seq", "val_seq", "test_seq", "plain"):
            scope[name].close()
