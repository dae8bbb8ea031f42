"""Numbers as people read them: 1.23 s, 45.6 ms, 1.2k."""

from __future__ import annotations

from math import floor, isfinite, log10

SECONDS = ((1e-3, 1e-6, "µs"), (1.0, 1e-3, "ms"), (120.0, 1.0, "s"), (7200.0, 60.0, "min"), (float("inf"), 3600.0, "h"))
COUNTS = ((1e3, 1.0, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M"), (float("inf"), 1e9, "B"))


def format_seconds(seconds: float) -> str:
    """Three significant figures in the unit that fits: 46.9 ms, 1.05 s, 3.2 min."""
    if seconds < 0 or not isfinite(seconds):
        return ""
    if seconds == 0:
        return "0 s"
    divisor, unit = next((divisor, unit) for limit, divisor, unit in SECONDS if seconds < limit * 0.9995)
    return f"{_three_figures(seconds / divisor)} {unit}"


def format_count(value: float) -> str:
    """412, 9.00k, 27.8M."""
    if not isfinite(value):
        return ""
    divisor, unit = next((divisor, unit) for limit, divisor, unit in COUNTS if abs(value) < limit * 0.9995)
    return f"{_three_figures(value / divisor)}{unit}"


def format_rate(tokens_per_s: float) -> str:
    return f"{format_count(tokens_per_s)} tok/s"


def format_bytes(size: float) -> str:
    if not isfinite(size):
        return ""
    divisor, unit = (2**30, "GiB") if abs(size) >= 2**30 * 0.9995 else (2**20, "MiB")
    return f"{_three_figures(size / divisor)} {unit}"


def _three_figures(value: float) -> str:
    """9.996 has three as 10.0: rounded first, then written."""
    if value == int(value) and abs(value) < 1000:
        return str(int(value))
    rounded = float(f"{value:.3g}")
    return f"{rounded:.{max(0, 2 - floor(log10(abs(rounded))))}f}"
