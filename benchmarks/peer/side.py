"""A side's process, as the one that compares sees it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_START_S = 120.0


class SideError(Exception):
    """A side failed, or was stopped, for the reason that is said."""


class Side:
    """Starts a process when it is needed, and again after it had to be stopped.

    Args:
        name: `ntkplan` or `incumbent`.
        python: The interpreter of its virtual environment.
    """

    def __init__(self, name: str, python: Path) -> None:
        self._name = name
        self._python = python
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, do: str, *, patience_s: float, **arguments: Any) -> Any:
        """Sends a command and waits for its answer.

        Args:
            do: What to do; a method of `worker.Worker`.
            patience_s: Seconds to wait; afterwards the process is stopped.
            arguments: Of the method.

        Raises:
            SideError: It failed, died, or took longer.
        """
        process = self._process or self._started()
        assert process.stdin and process.stdout
        line = json.dumps({"do": do, **arguments}) + "\n"
        process.stdin.write(line.encode())
        process.stdin.flush()
        answer = self._line(process, patience_s)
        if "error" in answer:
            raise SideError(answer["error"])
        return answer["answer"]

    def stop(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _started(self) -> subprocess.Popen[bytes]:
        module = ("-m", "benchmarks.peer.worker", self._name)
        self._process = subprocess.Popen(
            [str(self._python), *module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=_ROOT,
            env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(_ROOT)},
        )
        self.ask("versions", patience_s=_START_S)
        return self._process

    def _line(self, process: subprocess.Popen[bytes], patience_s: float) -> Any:
        assert process.stdout
        deadline = time.monotonic() + patience_s
        received = b""
        while not received.endswith(b"\n"):
            left_s = max(deadline - time.monotonic(), 0.0)
            if not select.select([process.stdout], [], [], left_s)[0]:
                self.stop()
                raise SideError(f"not ready within {patience_s:.0f} s")
            part = os.read(process.stdout.fileno(), 2**16)
            if not part:
                self.stop()
                raise SideError(f"its process ended with status {process.returncode}")
            received += part
        return json.loads(received)
