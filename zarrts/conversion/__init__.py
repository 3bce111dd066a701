"""Conversion of sources into a published store: plan, write with Dask, journal, resume, publish."""
