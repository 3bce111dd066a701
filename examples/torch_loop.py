"""Train with torch: in one process, with workers that read, or with a process for each device.

python examples/torch_loop.py study.zarr --epochs 5
python examples/torch_loop.py study.zarr --workers 2 --start spawn
torchrun --standalone --nproc-per-node 2 examples/torch_loop.py study.zarr
"""

import argparse
import os

import torch
from torch import distributed, nn

import zarrts

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("store", nargs="?", default="study.zarr")
parser.add_argument("--test", nargs="+", default=["s03"], help="subjects that test")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--workers", type=int, default=0, help="processes that read")
parser.add_argument("--start", default="spawn", choices=["fork", "forkserver", "spawn"])


class Network(nn.Module):
    """A small network for batches of (sample, time, channel)."""

    def __init__(self, n_channels: int, n_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.InstanceNorm1d(n_channels),  # each sample has offsets of its own
            nn.Conv1d(n_channels, 32, 9),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(32, n_classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the score of each class; torch wants channels before time."""
        return self.layers(x.transpose(1, 2))


def main() -> None:
    """Train on all subjects but some, and count what is right of these."""
    args = parser.parse_args()
    is_one_of_several = "WORLD_SIZE" in os.environ  # torchrun says so
    if is_one_of_several:
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    torch.manual_seed(0)
    with zarrts.open(args.store) as store:
        train, test = store.samples.split(test=args.test)
        # rank="auto": each process trains on its own part of every epoch, in as many batches.
        dataset = train.to_torch(64, stats=train.stats(), rank="auto")
        loader = torch.utils.data.DataLoader(
            dataset,
            batch_size=None,  # the batches come ready
            num_workers=args.workers,
            multiprocessing_context=args.start if args.workers else None,
            persistent_workers=args.workers > 0,
        )
        model: nn.Module = Network(store.sample_shape[-1], store.n_classes)
        if is_one_of_several:  # averages the gradients of all
            model = nn.parallel.DistributedDataParallel(model)
        optimizer = torch.optim.Adam(model.parameters(), 0.02)
        loss_of = nn.CrossEntropyLoss()
        for epoch in range(args.epochs):
            dataset.set_epoch(epoch)
            n_samples = n_batches = 0
            for x, y in loader:
                optimizer.zero_grad()
                loss_of(model(x), y).backward()
                optimizer.step()
                n_samples, n_batches = n_samples + len(x), n_batches + 1
        rank = distributed.get_rank() if is_one_of_several else 0
        said = f"process {rank}: {n_samples} of {len(train)} samples in {n_batches} batches"
        # Whole lines: torchrun turns buffers off, and lines of two processes would mix.
        print(f"{said}\n", end="")
        del loader  # and the workers
        dataset.close()
        if rank == 0:
            evaluate(model, test, train)
    if is_one_of_several:
        distributed.barrier()
        distributed.destroy_process_group()


@torch.no_grad()
def evaluate(model: nn.Module, test: zarrts.Samples, train: zarrts.Samples) -> None:
    """Print how much is right, of samples that are scaled as those of the training part."""
    model.eval()
    batches = test.to_torch(64, shuffle=False, stats=train.stats())
    n_correct = sum(int((model(x).argmax(1) == y).sum()) for x, y in batches)
    batches.close()
    print(f"{', '.join(test.subjects)}: {n_correct / len(test):.2f} correct")


if __name__ == "__main__":  # workers that are spawned import this file
    main()
