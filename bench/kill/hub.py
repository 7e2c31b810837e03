"""A hub beside a place, for programs that push: it runs in a process of its own and leaves what it holds as files."""

import os
import signal
import time
from pathlib import Path

from bench.kill import forked
from bench.kill.hub_server import serve

TOKEN, ADDRESS, SAID, HELD = "hf_TokenOfNobody", "hub.txt", "hub-said.txt", "hub"


class LocalHub:
    """An empty hub, from now until `leave`."""

    def __init__(self, place: Path) -> None:
        self.address = place.parent / ADDRESS
        self.pid = forked.begin(self._serve, place, place.parent / SAID)
        while not self.address.is_file():
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                raise RuntimeError(f"the hub ended: {(place.parent / SAID).read_text()}")
            time.sleep(0.01)

    def _serve(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        with serve(TOKEN) as hub:
            (written := self.address.with_suffix(".new")).write_text(hub.url)
            written.rename(self.address)
            signal.sigwait({signal.SIGTERM})
        for repo in hub.repos.values():
            for branch in repo.branches:
                for name, file in repo.files(branch).items():
                    path = Path(HELD, branch, name)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(file.data)

    def plant(self) -> None:
        """Have this process take it for the hub."""
        from huggingface_hub import constants

        for name in ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY"):
            setattr(constants, name, True)
        constants.ENDPOINT, constants.HF_HUB_OFFLINE = self.address.read_text(), False
        os.environ["HF_TOKEN"] = TOKEN

    def leave(self) -> None:
        """End it; what it holds lies in the place then, in hub/<branch>/."""
        os.kill(self.pid, signal.SIGTERM)
        forked.wait(self.pid)
