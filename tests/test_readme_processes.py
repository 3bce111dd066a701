"""The scripts of the README end without a word on stderr, run as processes of their own."""

import os
import re
import subprocess
import sys

import pytest
from test_readme import blocks, study  # noqa: F401 - a fixture

pytest.importorskip("keras", exc_type=ImportError)

# TensorFlow writes this before it reads how much it may write.
OF_TENSORFLOW = re.compile(
    r"WARNING: All log messages before absl|[EIW]\d{4} |\d{4}-\d\d-.*: [IW] "
)


def test_scripts_end_without_a_word_on_stderr(study, tmp_path):  # noqa: F811
    """All snippets as one script, whose sequences nobody closes, as users leave them."""
    (tmp_path / "readme.py").write_text("\n".join(blocks("python")), encoding="utf-8")
    # What backends print when they start is theirs.
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "readme.py"],
        cwd=study,
        env={**os.environ, **quiet, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    own = [line for line in done.stderr.splitlines() if not OF_TENSORFLOW.match(line)]
    assert (done.returncode, own) == (0, [])
