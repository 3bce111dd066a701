"""Look after a published store: compare it with its sources, repair it, take a subject out."""
