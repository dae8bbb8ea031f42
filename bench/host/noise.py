"""A verdict on the host: what disturbed the repeats, and waiting until nothing does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from math import sqrt
from statistics import median

from bench.host.disturbance import Disturbance, HostReader
from bench.host.gpu import POWER_CAP

# Shares of the CPU time that we could have had. Each costs at most about its own size in latency.
_OTHER_SHARE = 0.05
_STOLEN_SHARE = 0.01
_LIMITED_SHARE = 0.01
_SWITCHES_PER_S = 50.0  # per CPU; a quiet kernel interrupts a busy thread a few times a second
_CLOCK_SHARE = 0.05
_DRIFT_SHARE = 0.03
# The kernel counts CPU time in ticks of 10 ms: less than this is no evidence.
_LEAST_S = 0.04

_FEWEST_FOR_DRIFT = 6  # with fewer, chance alone looks like a trend
_LOOK_S = 0.5  # how long one look at the host takes while waiting for quiet


def noise(around: Sequence[Disturbance], latencies_s: Sequence[float]) -> list[str]:
    """What disturbed these repeats; none: they were quiet."""
    if not around:
        return []
    changed = drift(latencies_s)
    found = [*_cpu_reasons(around), *_clock_reasons(around)]
    if others := max(one.gpu_others or 0 for one in around):
        found.append(f"{others} other process{'es' if others > 1 else ''} on the GPU")
    if changed is not None and abs(changed) > _DRIFT_SHARE:
        found.append(f"drift: latency changed by {changed:+.0%} from the first repeats to the last")
    return found


def drift(latencies_s: Sequence[float]) -> float | None:
    """Relative change from the first third to the last, where the repeats have a trend (Mann-Kendall test, 1 %); else None."""
    count = len(latencies_s)
    if count < _FEWEST_FOR_DRIFT:
        return None
    rises = sum((later > earlier) - (later < earlier) for i, earlier in enumerate(latencies_s) for later in latencies_s[i + 1 :])
    spread = sqrt(count * (count - 1) * (2 * count + 5) / 18)
    if (abs(rises) - 1) / spread < 2.576:
        return None
    third = count // 3
    return median(latencies_s[-third:]) / median(latencies_s[:third]) - 1


def wait_until_quiet(
    limit_s: float, note: Callable[[str], None], given_up: Callable[[], bool] = lambda: False, cpus: tuple[int, ...] = ()
) -> bool:
    """Wait until other processes leave these CPUs alone, at most this long; `note` is told once for what. Whether it got quiet.

    Default: the CPUs that this process may use.
    """
    reader, deadline, told = HostReader(cpus=cpus), time.monotonic() + limit_s, False
    while not given_up():
        before = reader.read()
        time.sleep(_LOOK_S)
        reasons = _cpu_reasons([reader.since(before)])
        if not reasons:
            return True
        if time.monotonic() >= deadline:
            break
        if not told:
            note("; ".join(reasons))
            told = True
    return False


def _cpu_reasons(around: Sequence[Disturbance]) -> list[str]:
    seconds = sum(one.seconds for one in around) or 1e-9
    cpus = around[0].cpus or len(os.sched_getaffinity(0))
    needed = around[0].needed_cpus or cpus
    available_s = seconds * cpus
    # What others take of CPUs that the job does not need costs it nothing.
    most_for_others = max(_OTHER_SHARE, 1 - needed / cpus)
    shares = (
        (sum(one.other_cpu_s for one in around), available_s, most_for_others, "other processes took {:.0%} of the CPU time"),
        (sum(one.stolen_s for one in around), available_s, _STOLEN_SHARE, "the hypervisor took {:.0%} of the CPU time"),
        (sum(one.limited_s for one in around), seconds, _LIMITED_SHARE, "the container's CPU limit held it back for {:.0%} of the time"),
    )
    found = [text.format(taken / whole) for taken, whole, most, text in shares if taken > max(most * whole, _LEAST_S)]
    per_s = sum(one.switches for one in around) / (seconds * needed)
    if per_s > _SWITCHES_PER_S and available_s > _LEAST_S:
        found.append(f"made to wait {per_s:.0f} times a second on each CPU, by more threads than CPUs or by other processes")
    return found


def _clock_reasons(around: Sequence[Disturbance]) -> list[str]:
    found = []
    if heat := sum(one.heat_events for one in around):
        found.append(f"the CPU slowed down {heat} times because it was hot")
    for name, clocks in (("CPU", [one.clock_mhz for one in around]), ("GPU", [one.gpu_clock_mhz for one in around])):
        known = [clock for clock in clocks if clock]
        if known and min(known) < (1 - _CLOCK_SHARE) * median(known):
            found.append(f"{name} clock fell to {min(known):.0f} MHz, its median was {median(known):.0f}")
    throttles = dict.fromkeys(reason for one in around for reason in one.gpu_throttles if reason != POWER_CAP)
    if throttles:
        warmest = max((one.gpu_celsius for one in around if one.gpu_celsius is not None), default=None)
        at = f" at {warmest:.0f} °C" if warmest is not None else ""
        found.append(f"GPU throttled{at}: {', '.join(throttles)}")
    return found
