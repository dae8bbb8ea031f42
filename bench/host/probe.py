"""Measures memory bandwidth and matrix rates with torch: `python -m bench.host.probe SECONDS` prints each pass as JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
import torch

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Of an array that stands for memory: on a GPU so large that launching a kernel takes no part of the time that counts.
_LEAST_BYTES = {"cpu": 256 * 2**20, "cuda": 2 * 2**30}
_LAUNCHES = 8  # of a kernel between two marks on a GPU
_PASSES = 2  # over all kernels, so that a short disturbance cannot hide a ceiling
_SIZES = {"cpu": (256, 512, 1024, 2048, 4096), "cuda": (2048, 4096, 8192)}


def main(seconds: float) -> None:
    """`seconds` for each kernel. A ceiling is the best of all tries: whatever disturbs only makes them slower."""
    torch.set_grad_enabled(False)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() and _has_room() else [])]
    print(json.dumps([[_probe(device, seconds / _PASSES) for device in devices] for _ in range(_PASSES)]))


def _has_room() -> bool:
    """Whether an array and its copy fit beside what others hold on the GPU: a smaller one would show its cache instead."""
    free: int = torch.cuda.mem_get_info()[0]
    return free > 3 * _LEAST_BYTES["cuda"]


def _probe(device: str, seconds: float) -> dict[str, Any]:
    cuda = device == "cuda"
    cache_bytes = int(torch.cuda.get_device_properties(0).L2_cache_size) if cuda else _cpu_cache_bytes()
    read, copy = _bandwidth(device, _array_bytes(device, cache_bytes), seconds)
    return {
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "threads": None if cuda else torch.get_num_threads(),
        "read_bytes_per_s": read,
        "copy_bytes_per_s": copy,
        "flops_per_s": {name: rate for name, dtype in _DTYPES.items() if (rate := _matrix_rate(device, dtype, seconds))},
        "cache_bytes": cache_bytes,
    }


def _array_bytes(device: str, cache_bytes: int) -> int:
    """Large against the caches, small against the memory."""
    wanted = max(_LEAST_BYTES[device], 4 * cache_bytes)
    return wanted if device == "cuda" else max(2**20, min(wanted, psutil.virtual_memory().available // 8))


def _bandwidth(device: str, size: int, seconds: float) -> tuple[float, float]:
    columns = 4096
    source = torch.ones(size // (4 * columns), columns, device=device)
    target, vector = torch.empty_like(source), torch.ones(columns, device=device)
    size = source.nbytes
    # Which kernel reads fastest depends on the processor: a sum of floats, of integers, or a matrix times a vector, as in decoding.
    integers = source.view(torch.int32)
    readers = (lambda: source.sum(), lambda: integers.sum(dtype=torch.int32), lambda: torch.mv(source, vector))
    read = max(size / _least_s(reader, device, seconds) for reader in readers)
    return read, 2 * size / _least_s(lambda: target.copy_(source), device, seconds)


def _matrix_rate(device: str, dtype: torch.dtype, seconds: float) -> float | None:
    """FLOP/s of square products at the best size; larger ones are not tried where they would outlast the time by far."""
    best, expected_s = 0.0, 0.0
    for size in _SIZES[device]:
        if expected_s > 2 * seconds:
            break
        try:
            left, right = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
            taken_s = _least_s(partial(torch.nn.functional.linear, left, right), device, seconds)
        except RuntimeError:  # no such product on this device
            return best or None
        best, expected_s = max(best, 2 * size**3 / taken_s), 8 * taken_s
    return best


def _least_s(kernel: Callable[[], object], device: str, seconds: float) -> float:
    timed = _on_gpu_s if device == "cuda" else _on_cpu_s
    timed(kernel)
    least, end = float("inf"), perf_counter() + seconds
    while perf_counter() < end or least == float("inf"):
        least = min(least, timed(kernel))
    return least


def _on_cpu_s(kernel: Callable[[], object]) -> float:
    started = perf_counter()
    kernel()
    return perf_counter() - started


def _on_gpu_s(kernel: Callable[[], object]) -> float:
    """Of one launch among several, by marks in the stream: neither the launch nor the wait for the end is part of it."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(_LAUNCHES):
        kernel()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1e3 / _LAUNCHES


def _cpu_cache_bytes() -> int:
    """All level 2 and 3 caches of the CPUs that we may use: on some processors they hold different lines."""
    seen: dict[tuple[str, str], int] = {}
    for cpu in os.sched_getaffinity(0):
        for index in Path(f"/sys/devices/system/cpu/cpu{cpu}/cache").glob("index*"):
            try:
                level, shared, size = ((index / name).read_text().strip() for name in ("level", "shared_cpu_list", "size"))
            except OSError:
                continue
            if level in ("2", "3", "4"):
                seen[level, shared] = int(size.rstrip("K")) * 1024
    return sum(seen.values())


if __name__ == "__main__":
    main(float(sys.argv[1]))
