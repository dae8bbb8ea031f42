"""The line between the launching process and its worker: out of one end comes what the other end's program put in, and nothing else."""

from __future__ import annotations

import hmac
import os
import pickle
import secrets
import socket
import struct
import time
from multiprocessing.connection import wait
from typing import Any

_LENGTH = struct.Struct("!Q")
_KEY_BYTES = _DIGEST_BYTES = 32
_LONGEST_S = 1e6  # a socket waits for no infinite time


class Forged(OSError):
    """Somebody else wrote to the line."""


class Channel:
    """One end of a pair of sockets, for pickled messages.

    An engine lives in one process with its end, and may print, or write to whatever is open. So each part of a message is signed
    with a key that is handed over before there is an engine, and what is not signed is never unpickled.
    """

    def __init__(self, end: socket.socket, key: bytes) -> None:
        self._end, self._key = end, key

    @staticmethod
    def pair() -> tuple[Channel, socket.socket]:
        """Our end, and the other one, to be handed to a child process."""
        ours, theirs = socket.socketpair()
        key = secrets.token_bytes(_KEY_BYTES)
        ours.sendall(key)
        return Channel(ours, key), theirs

    @staticmethod
    def inherited(fd: int) -> Channel:
        """The other end, in that process; its own children do not get it."""
        os.set_inheritable(fd, False)
        end = socket.socket(fileno=fd)
        return Channel(end, end.recv(_KEY_BYTES, socket.MSG_WAITALL))

    def send(self, message: Any) -> None:
        """Raises OSError where the other end is closed."""
        content = pickle.dumps(message)
        self._end.settimeout(None)
        self._end.sendall(b"".join((self._signed(_LENGTH.pack(len(content))), self._signed(content))))

    def recv(self, deadline: float | None = None) -> Any:
        """The next message, until then on the monotonic clock. Raises TimeoutError, EOFError where the other end is closed, and Forged."""
        (size,) = _LENGTH.unpack(self._part(_LENGTH.size, deadline))
        return pickle.loads(self._part(size, deadline))

    def can_receive(self, within_s: float) -> bool:
        """Whether there is something to be received, at the latest then."""
        return bool(wait([self._end], within_s))

    def close(self) -> None:
        self._end.close()

    def _signed(self, part: bytes) -> bytes:
        return hmac.digest(self._key, part, "sha256") + part

    def _part(self, size: int, deadline: float | None) -> bytes:
        signed = self._read(_DIGEST_BYTES + size, deadline)
        signature, part = signed[:_DIGEST_BYTES], signed[_DIGEST_BYTES:]
        if not hmac.compare_digest(signature, hmac.digest(self._key, part, "sha256")):
            raise Forged("something wrote to the worker's line that was not this program")
        return part

    def _read(self, size: int, deadline: float | None) -> bytes:
        read = bytearray()
        while len(read) < size:
            self._end.settimeout(None if deadline is None else min(max(1e-6, deadline - time.monotonic()), _LONGEST_S))
            piece = self._end.recv(min(size - len(read), 1 << 20))
            if not piece:
                raise EOFError
            read += piece
        return bytes(read)
