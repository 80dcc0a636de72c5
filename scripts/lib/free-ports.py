"""Prints as many free TCP ports of 127.0.0.1 as the argument is.

All of them are held until the last is found, so no two are the same.
"""

import socket
import sys

sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for held in sockets:
    held.bind(("127.0.0.1", 0))
print(*(held.getsockname()[1] for held in sockets))
