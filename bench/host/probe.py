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
_LEAST_BYTES = 256 * 2**20  # of an array that stands for memory
_PASSES = 2  # over all kernels, so that a short disturbance cannot hide a ceiling
_SIZES = {"cpu": (256, 512, 1024, 2048, 4096), "cuda": (2048, 4096, 8192)}


def main(seconds: float) -> None:
    """`seconds` for each kernel. A ceiling is the best of all tries: whatever disturbs only makes them slower."""
    torch.set_grad_enabled(False)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    print(json.dumps([[_probe(device, seconds / _PASSES) for device in devices] for _ in range(_PASSES)]))


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
    free = torch.cuda.mem_get_info()[0] if device == "cuda" else psutil.virtual_memory().available
    return max(2**20, min(max(_LEAST_BYTES, 4 * cache_bytes), free // 8))


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
    finish = torch.cuda.synchronize if device == "cuda" else lambda: None
    kernel()
    finish()
    least, end = float("inf"), perf_counter() + seconds
    while perf_counter() < end or least == float("inf"):
        started = perf_counter()
        kernel()
        finish()
        least = min(least, perf_counter() - started)
    return least


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
