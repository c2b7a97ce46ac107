"""What a trial takes of memory, and giving it back before the next one starts."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from trainers.data.prepared.read import PreparedData

KEPT_SHARE = 0.25
"""Data is kept on a GPU if it takes no more than this share of what is free: trials share one."""
MMAP_MAX, TRIM_THRESHOLD = -4, -1
"""Numbers of two of ``mallopt``'s settings in glibc."""
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def keep_freed() -> None:
    """Let the process keep what it frees: else each large tensor's pages are fetched from the system anew.

    Measured at 64×64×32 on the CPU: a third of a step's time was the system's, making pages.
    """
    _libc_call("mallopt", MMAP_MAX, 0)
    _libc_call("mallopt", TRIM_THRESHOLD, 2**31 - 1)


def _libc_call(name: str, *numbers: int) -> None:
    if call := getattr(ctypes.CDLL(None), name, None):  # glibc's alone
        call(*numbers)


def start_measuring(device: torch.device) -> None:
    """Forget the peaks of earlier trials of this process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        _RESET.write_text("5")
    except OSError:
        return  # not Linux: the peak is then that of the process's whole life


def peak_mib(device: torch.device) -> float:
    """The most memory taken since ``start_measuring`` [MiB]: of the GPU by this process, or of the host by it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 2**20
    try:
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return float(lines["VmHWM"].split()[0]) / 1024
    except (OSError, KeyError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def total_mib(device: str) -> float:
    """The memory of a GPU, or of this machine [MiB]."""
    if device == "cuda":
        return torch.cuda.get_device_properties(device).total_memory / 2**20
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20


def release(device: torch.device) -> None:
    """Give back what the last trial held, so that the next one, perhaps of another process, finds it free."""
    if device.type == "cuda":
        # On the host a tensor goes with its last name; looking for cycles there costs more than a small trial.
        gc.collect()
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
    _libc_call("malloc_trim", 0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the host had no more memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # What torch's own allocator on the host says.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def fits_on(device: torch.device, data: PreparedData) -> bool:
    """Whether all cases may be kept on the device."""
    if device.type != "cuda":
        return False  # the storage's pages are shared by all processes of a machine; a copy is not
    free, _ = torch.cuda.mem_get_info(device)
    arrays: list[Sequence[NDArray[np.generic]]] = [data.images, data.labels]
    return sum(one.nbytes for kind in arrays for one in kind) <= KEPT_SHARE * free


def visible_gpus() -> int:
    """GPUs that torch can use in this process."""
    return torch.cuda.device_count()
