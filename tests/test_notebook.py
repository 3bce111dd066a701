"""The notebook for a classroom runs from top to bottom, and is kept without outputs."""

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "demo.ipynb"


def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return found


def test_outputs_are_stripped() -> None:
    code = [it for it in cells() if it["cell_type"] == "code"]
    assert len(code) >= 8
    for it in code:
        assert it["outputs"] == []
        assert it["execution_count"] is None


@pytest.mark.filterwarnings("ignore")  # of Jupyter
def test_notebook_runs(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient: tox -e docs")
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat: tox -e docs")
    for name in ("keras", "matplotlib", "seglearn", "ipykernel"):
        pytest.importorskip(name, reason=f"the notebook needs {name}")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    client = nbclient.NotebookClient(notebook, timeout=240, resources=resources)
    client.execute()
    outputs = [out for it in notebook.cells for out in it.get("outputs", [])]
    pictures = [out for out in outputs if "image/png" in out.get("data", {})]
    assert len(pictures) == 4
    assert any("<table" in out.get("data", {}).get("text/html", "") for out in outputs)
    assert not [out for out in outputs if out.output_type == "stream" and out.name == "stderr"]
    assert (tmp_path / "report.html").is_file()
