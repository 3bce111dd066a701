"""From sources to a published store: plan, write with Dask, journal, resume, publish."""
