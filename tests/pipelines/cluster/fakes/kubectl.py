"""A kubectl that forwards one port to a server of the test, and can be broken or go deaf."""

import stat
import sys
from pathlib import Path

PROGRAM = """#!{python}
import os, socket, sys, threading
open({log!r}, "a").write(" ".join([*sys.argv[1:-1], str(os.getpid()), sys.argv[-1]]) + chr(10))
if os.path.exists({broken!r}):
    sys.exit("error: services \\"ml-pipeline-ui\\" not found")
def is_deaf():
    return os.path.exists({deaf!r}) and open({deaf!r}).read() == str(os.getpid())
local = int(sys.argv[-1].split(":")[0])
server = socket.create_server(("127.0.0.1", local))
def pump(a, b):
    while (data := a.recv(65536)) and not is_deaf():
        b.sendall(data)
    for each in (a, b):
        each.close() if is_deaf() else b.shutdown(socket.SHUT_WR)
while True:
    client, _ = server.accept()
    if is_deaf():
        client.close()
        continue
    target = socket.create_connection(("127.0.0.1", {port}))
    for pair in ((client, target), (target, client)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""


class Kubectl:
    """A program in ``folder`` that keeps a log of its calls: its arguments, with its process id before the ports."""

    def __init__(self, folder: Path, *, port: int) -> None:
        self.folder, self._log = folder, folder / "calls"
        self._broken, self._deaf = folder / "broken", folder / "deaf"
        folder.mkdir()
        program = folder / "kubectl"
        marks = {"log": str(self._log), "broken": str(self._broken), "deaf": str(self._deaf)}
        program.write_text(PROGRAM.format(python=sys.executable, port=port, **marks))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    @property
    def calls(self) -> list[str]:
        return self._log.read_text().splitlines()

    @property
    def process(self) -> int:
        """The process id of the last call."""
        return int(self.calls[-1].split()[-2])

    @property
    def port(self) -> int:
        """The port of this machine that the last call listened at."""
        return int(self.calls[-1].split()[-1].split(":")[0])

    def fail(self) -> None:
        """Let every later call end with an error."""
        self._broken.touch()

    def go_deaf(self) -> None:
        """Let the call that runs live on, with nothing coming through it any more."""
        self._deaf.write_text(str(self.process))
