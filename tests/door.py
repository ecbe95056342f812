"""`lanser` for scripts that tests run: it knocks at a door, behind which `quick` forks a command.

A script then starts its commands as it always does, but they need not import torch first. Standard
streams are handed over as they are, so pipes, files and their offsets are those of the script.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import threading
from functools import cache
from multiprocessing import connection, reduction
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import quick

CLIENT = """\
#!{python} -IS
import json, os, signal, socket, struct, sys

door = socket.socket(socket.AF_UNIX)
door.connect({path!r})
said = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(door, [struct.pack("!q", len(said))], [0, 1, 2])
door.sendall(said)


def number():
    found = b""
    while len(found) < 8:
        found += door.recv(8 - len(found)) or sys.exit("the door was shut")
    return struct.unpack("!q", found)[0]


process = number()
if not process:  # variables that an interpreter of its own must read
    os.execv({python!r}, [{python!r}, "-m", "lanser_cli", *sys.argv[1:]])
for one in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(one, lambda given, _: os.kill(process, given))
code = number()
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


class _Handed:
    """A file descriptor that travels to the process that is started."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        return _taken, (reduction.DupFd(self.descriptor),)


def _taken(travelling: Any) -> int:
    return travelling.detach()


def put_client(path: Path) -> None:
    """Write the executable that stands for `lanser`."""
    path.write_text(CLIENT.format(python=sys.executable, path=_open()))
    path.chmod(0o755)


@cache
def _open() -> str:
    """Open the door once, and answer in threads from then on."""
    path = os.path.join(mkdtemp(prefix="door-"), "door")  # short: a socket's name may be
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def answer() -> None:
        while True:
            visitor, _ = listener.accept()
            threading.Thread(target=_serve, args=(visitor,), daemon=True).start()

    threading.Thread(target=answer, daemon=True).start()
    return path


def _serve(visitor: socket.socket) -> None:
    with visitor:
        head, streams, _, _ = socket.recv_fds(visitor, 8, 3)
        [left] = struct.unpack("!q", head)
        said = b""
        while len(said) < left:
            said += visitor.recv(left - len(said))
        arguments, folder, environment = json.loads(said)
        if quick.late(environment):
            visitor.sendall(struct.pack("!q", 0))
            process = None
        else:
            process = quick.start(arguments, [_Handed(one) for one in streams], folder, environment)
            visitor.sendall(struct.pack("!q", process.pid))
        for one in streams:
            os.close(one)
        if process is None:
            return
        gone = connection.wait([process.sentinel, visitor])
        if visitor in gone:  # killed, so that it cannot be told
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        if visitor not in gone:
            visitor.sendall(struct.pack("!q", process.exitcode))
