"""The measured figures of docs/performance.md: make perf. Timings belong here, never in an assertion of a test."""
