"""EDF and BDF files, written by pyEDFlib; what needs one is skipped where that is missing."""

import warnings
from datetime import datetime

import numpy as np
import pytest

RATE, SECONDS = 50, 12
NO_WHEEL = "pyEDFlib has no wheel for every Python"


def write_edf(path, names=("Fpz-Cz", "EOG"), rates=None, annotations=(), seed=0, bdf=False):
    """Write noise, and return it as (time, channel) where all rates are alike."""
    pyedflib = pytest.importorskip("pyedflib", reason=NO_WHEEL)
    rng = np.random.default_rng(seed)
    kind = pyedflib.FILETYPE_BDFPLUS if bdf else pyedflib.FILETYPE_EDFPLUS
    rates = rates or [RATE] * len(names)
    signals = [rng.normal(0, 50, rate * SECONDS) for rate in rates]
    bits = 2**23 if bdf else 2**15
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pyedflib.EdfWriter(str(path), len(names), kind) as file:
            # By default it is the second of writing, and files that belong together would differ.
            file.setStartdatetime(datetime(2024, 12, 31, 22, 0, 0))
            file.setSignalHeaders(
                [
                    {
                        "label": name,
                        "dimension": "uV",
                        "sample_frequency": rate,
                        "physical_min": -500,
                        "physical_max": 500,
                        "digital_min": -bits,
                        "digital_max": bits - 1,
                        "transducer": "",
                        "prefilter": "",
                    }
                    for name, rate in zip(names, rates, strict=True)
                ]
            )
            if signals:
                file.writeSamples(signals)
            for onset, duration, text in annotations:
                file.writeAnnotation(onset, duration, text)
    return signals


STAGES = [(0, 4, "W"), (4, 2.5, "N1"), (8, 100, "R")]
