"""Training with several processes that share each batch, started by `torchrun`."""

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_gather
from torch.nn.parallel import DistributedDataParallel

from crosspoint.core.errors import CrosspointError, InputError
from crosspoint.models.normalisation import synchronise

PATIENCE = timedelta(minutes=10)  # how long a process waits for the others before the run fails


class LostProcess(CrosspointError):
    """Another process of the run died or stopped answering."""

    exit_code = 1


class ProcessGroup:
    """The processes of a run. In a run of one process nothing is communicated.

    Args:
        rank: Number of this process, counted from 0.
        size: Number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which writes and prints."""
        return self.rank == 0

    def gather(self, tensor: Tensor) -> Tensor:
        """Concatenate the tensors `(n, …)` of all processes to `(size·n, …)`; gradients flow back to all of them.

        Gradients of samples of other processes flow back to those processes. With plain `all_gather` they would be
        lost, and the result would be 1/size of the true gradient.
        """
        if self.size == 1:
            return tensor
        return torch.cat(all_gather(tensor))  # type: ignore[no-untyped-call]

    def mean(self, values: dict[str, float], device: torch.device) -> dict[str, float]:
        """Mean of each value over the processes."""
        if self.size == 1:
            return values
        tensor = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
        distributed.all_reduce(tensor)
        return dict(zip(values, (tensor / self.size).tolist(), strict=True))

    def any(self, condition: bool, device: torch.device) -> bool:
        """Whether the condition holds in any process."""
        if self.size == 1:
            return condition
        tensor = torch.tensor(int(condition), device=device)
        distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
        return bool(tensor.item())

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self.size > 1:
            distributed.barrier()

    def wrap_ddp(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Wrap the network for DDP, with synchronised statistics and averaged gradients."""
        if self.size == 1:
            return network
        devices = [device] if device.type == "cuda" else None
        return DistributedDataParallel(synchronise(network), device_ids=devices, broadcast_buffers=False)


@contextlib.contextmanager
def processes(device: torch.device) -> Iterator[tuple[ProcessGroup, torch.device]]:
    """Yield the process group of `torchrun` and this process's device; without `torchrun`, a group of one process.

    Raises:
        InputError: `torchrun` started more processes than there are GPUs on this machine.
        LostProcess: Another process died while this one waited for it.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield ProcessGroup(), device
        return
    if device.type == "cuda":
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise InputError(
                f"torchrun started process {local} on a machine with {torch.cuda.device_count()} GPUs; "
                "lower --nproc-per-node"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield ProcessGroup(distributed.get_rank(), distributed.get_world_size()), device
    except RuntimeError as error:
        if not _is_communication(error):
            raise
        reason = str(error).splitlines()[0]
        raise LostProcess(f"another process of this run ended ({reason}); see its message, then --resume") from error
    finally:
        distributed.destroy_process_group()


def _is_communication(error: RuntimeError) -> bool:
    words = ("gloo", "NCCL", "Connection", "Timed out", "timeout", "Broken pipe")
    return isinstance(error, distributed.DistBackendError) or any(word in str(error) for word in words)
