"""Stores in buckets: addresses, requests that are tried again, leases, and a local cache."""
