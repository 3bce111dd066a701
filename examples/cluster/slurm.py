"""Convert a study with the jobs of a Slurm cluster. Edit what stands in capitals.

Run it where jobs are submitted, in tmux or as a small job of its own: it waits for the others,
and keeps the journal. If it ends early, run it again: it goes on from what is finished.

    python -m pip install 'zarrts[cluster]' dask-jobqueue
    python slurm.py
"""

from dask_jobqueue import SLURMCluster

import zarrts

SOURCES = "/shared/subjects"  # the same path on every node, as is the store's
STORE = "/shared/study.zarr"
PARTITION = "standard"
JOBS = 8
CORES = 4  # of one job; as many parts are written at once, if MEMORY allows it
JOB_MEMORY = "8GiB"
MEMORY = "4GiB"  # of that, for the conversion
WALLTIME = "01:00:00"
LIFETIME = "50m"  # less than that, so that workers end their part before Slurm ends them


def main() -> None:
    """Start the jobs, convert with them, and end them."""
    with SLURMCluster(
        queue=PARTITION,
        cores=CORES,
        processes=1,
        memory=JOB_MEMORY,
        walltime=WALLTIME,
        worker_extra_args=["--lifetime", LIFETIME, "--lifetime-stagger", "4m"],
    ) as cluster:
        cluster.adapt(minimum_jobs=JOBS, maximum_jobs=JOBS)  # jobs that end are followed by others
        cluster.wait_for_workers(1)  # as long as the queue is
        store = zarrts.convert(SOURCES, STORE, memory=MEMORY, scheduler=cluster)
    print(f"{store.n_samples:,} samples of {len(store.subjects)} subjects")


if __name__ == "__main__":
    main()
