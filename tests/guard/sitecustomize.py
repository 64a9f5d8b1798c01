"""No test reaches beyond this machine: every Python process of the suite refuses to connect anywhere but to loopback.

An audit hook sees each connection and name look-up of the process and cannot be taken off again. Child processes get it because
this folder is on their PYTHONPATH.
"""

import ipaddress
import sys


def _refuse_beyond_loopback(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect" or event == "socket.sendto":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # a path: a Unix socket stays on the machine
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost", "0.0.0.0", "::"):
        return
    try:
        if ipaddress.ip_address(str(host).partition("%")[0]).is_loopback:
            return
    except ValueError:
        pass
    raise PermissionError(f"a test tried to reach {host}: tests stay on loopback")


sys.addaudithook(_refuse_beyond_loopback)
