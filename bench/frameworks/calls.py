"""A process that answers calls: what comes over its connection names a method and its arguments, what goes back is what came of it."""

from __future__ import annotations

import traceback
from multiprocessing.connection import Connection

from bench.frameworks.channel import Channel
from bench.frameworks.failure import of_exception


def answer_calls(connection: Connection | Channel, target: object) -> None:
    """Call what is asked for on `target`, until the other side closes its end. What is raised goes back as JobLost."""
    while True:
        try:
            method, arguments = connection.recv()
        except (EOFError, ConnectionError):
            return
        try:
            connection.send(getattr(target, method)(*arguments))
        except Exception as error:  # the boundary: whatever an engine raises becomes a row
            traceback.print_exc()
            connection.send(of_exception(error))
