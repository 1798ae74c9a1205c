"""The server of `mcp_stdio_server.py`, forked for each connection: importing the SDK takes a second.

`serve PATH` waits at a Unix socket; `connect PATH` is the program that a client starts: it hands its standard
streams over to a fork, and ends as that ends.
"""

from __future__ import annotations

import os
import signal
import socket
import sys


def connect(path: str) -> int:
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        socket.send_fds(link, [b"!"], [0, 1, 2])
        for descriptor in (0, 1):
            os.close(descriptor)  # so the client sees that the fork closes them
        return (link.recv(1) or b"\xff")[0]


def serve(path: str) -> None:
    from mcp_stdio_server import main  # type: ignore[import-not-found]

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print(flush=True)
        while True:
            link, _ = listener.accept()
            if os.fork() == 0:
                break
            link.close()
    # In a process for this connection, which starts the server and waits for its end.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, descriptors, _, _ = socket.recv_fds(link, 1, 3)
    if (server := os.fork()) == 0:
        link.close()
        for standard, descriptor in enumerate(descriptors):
            os.dup2(descriptor, standard)
            os.close(descriptor)
        main()
        sys.exit()
    for descriptor in (0, 1, *descriptors):
        os.close(descriptor)
    _, status = os.waitpid(server, 0)
    link.send(bytes([os.waitstatus_to_exitcode(status) & 0xFF]))


if __name__ == "__main__":
    if sys.argv[1] == "connect":
        sys.exit(connect(sys.argv[2]))
    serve(sys.argv[2])
