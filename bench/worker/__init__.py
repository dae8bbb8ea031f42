"""One loaded model in a child process: both ends of it."""
