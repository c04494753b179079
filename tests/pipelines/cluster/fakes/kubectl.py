"""A kubectl that forwards one port to a server of the test, and behaves as the real one does when the pod is deleted.

It forwards to one pod for as long as it runs. Once the pod is deleted it prints "lost connection to pod" and ends, or,
where the node keeps the stream open, lives on: then it takes every connection, answers nothing, and closes it sooner or
later (kubectl's client-go/tools/portforward: "error creating error stream").
"""

import json
import stat
import sys
from pathlib import Path

PROGRAM = """#!{python}
import json, os, socket, sys, threading, time
arguments = sys.argv[1:]
name = next(one for one in arguments if one.startswith("service/")).removeprefix("service/")
open({log!r}, "a").write(" ".join([*arguments[:-1], str(os.getpid()), arguments[-1]]) + chr(10))
def state():
    return json.load(open({state!r}))
if state()["broken"]:
    sys.exit('Error from server (NotFound): services "' + name + '" not found')
ports = state()["ports"]
if "get" in arguments:
    listed = [{{"name": key, "port": ports[key]}} for key in ports]
    print(json.dumps({{"kind": "Service", "spec": {{"ports": listed}}}}))
    sys.exit()
local, remote = map(int, arguments[-1].split(":"))
if remote not in ports.values():
    sys.exit(f"error: Service {{name}} does not have a service port {{remote}}")
if state()["pending"]:
    content = state()
    json.dump(content | {{"pending": content["pending"] - 1}}, open({state!r}, "w"))
    sys.exit("error: unable to forward port because pod is not running. Current status=Pending")
def is_lost(how):
    return state()[how] == os.getpid()
server = socket.create_server(("127.0.0.1", local))
print(f"Forwarding from 127.0.0.1:{{local}} -> {{remote}}", flush=True)
def watch():
    while not is_lost("ends"):
        time.sleep(0.01)
    sys.stderr.write("error: lost connection to pod" + chr(10))
    sys.stderr.flush()
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
def pump(a, b):
    try:
        while (data := a.recv(65536)) and not is_lost("hangs"):
            b.sendall(data)
    except OSError:
        pass
    if is_lost("hangs") and state()["is_silent"]:
        return
    for each, how in ((a, socket.SHUT_RDWR), (b, socket.SHUT_RDWR)) if is_lost("hangs") else ((b, socket.SHUT_WR),):
        try:
            each.shutdown(how)
        except OSError:
            pass
held = []
while True:
    client, _ = server.accept()
    if is_lost("hangs"):
        held.append(client)
        if not state()["is_silent"]:
            held.pop().close()
        continue
    target = socket.create_connection(("127.0.0.1", {port}))
    for pair in ((client, target), (target, client)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""


class Kubectl:
    """A program in ``folder`` that keeps a log of its calls: its arguments, with its process id before the last."""

    def __init__(self, folder: Path, *, port: int) -> None:
        self.folder, self._log, self._state = folder, folder / "calls", folder / "state"
        folder.mkdir()
        self._set(broken=False, ports={"http": 80}, pending=0, ends=0, hangs=0, is_silent=False)
        program = folder / "kubectl"
        marks = {"log": str(self._log), "state": str(self._state)}
        program.write_text(PROGRAM.format(python=sys.executable, port=port, **marks))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    @property
    def calls(self) -> list[str]:
        """The calls that forward a port."""
        return [line for line in self._log.read_text().splitlines() if " port-forward " in line]

    @property
    def process(self) -> int:
        """The process id of the last call."""
        return int(self.calls[-1].split()[-2])

    @property
    def port(self) -> int:
        """The port of this machine that the last call listened at."""
        return int(self.calls[-1].split()[-1].split(":")[0])

    def serve(self, **ports: int) -> None:
        """Let the service have these ports, by their names."""
        self._set(ports=ports)

    def fail(self) -> None:
        """Let every later call end with an error."""
        self._set(broken=True)

    def lose_pod(self, *, pending: int = 0) -> None:
        """Let the call that runs end, as its pod was deleted; the next ``pending`` calls find no running pod."""
        self._set(ends=self.process, pending=pending)

    def hang(self, *, is_silent: bool = False) -> None:
        """Let the call that runs live on without its pod; connections are closed, or held where ``is_silent``."""
        self._set(hangs=self.process, is_silent=is_silent)

    def _set(self, **changes: object) -> None:
        content = json.loads(self._state.read_text()) if self._state.exists() else {}
        # Readers must never see half of it.
        new = self._state.with_suffix(".new")
        new.write_text(json.dumps(content | changes))
        new.replace(self._state)
