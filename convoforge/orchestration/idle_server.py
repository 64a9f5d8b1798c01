"""`python -m convoforge.orchestration.idle_server HOME`: ends the Prefect server of a folder when no build has used it for some minutes.

A build starts it beside the server. It outlives the build, however that ends, and leaves with the server. One is enough for a folder.
"""

from __future__ import annotations

import fcntl
import sys
import time
from pathlib import Path

from convoforge.orchestration.local_server import STOP_SECONDS, watch_idle_server
from convoforge.orchestration.server_home import open_private, read_note

LOOK_SECONDS = 1.0


def main(home: Path) -> None:
    """Look once a second, until the server is gone or stays. One whose folder was removed is of no use to anybody."""
    with open_private(home / "convoforge-server.watcher", "a") as alone:
        try:
            fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        server = read_note(home)
        while home.is_dir():
            if not watch_idle_server(home):
                return
            time.sleep(LOOK_SECONDS)
        if server is not None and server.process is not None:
            server.process.end(STOP_SECONDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
