"""One provisioned host for all tests that need one: made by the demo itself, from a bare OS."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from strixfleet.sandbox import lifecycle
from strixfleet.sandbox.boxes import Sandbox
from tests.conftest import Run


@dataclass(frozen=True)
class Demo:
    """What `strixfleet demo` left and printed."""

    made: Sandbox
    done: subprocess.CompletedProcess[str]

    @property
    def inventory(self) -> str:
        return str(self.made.inventory)

    @property
    def host(self) -> str:
        return self.made.hosts[0].name

    def printed(self, label: str) -> str:
        """Return what the closing lines say after a label."""
        found = re.search(rf"^{label}\s+(.+)$", self.done.stdout, re.MULTILINE)
        assert found, self.done.stdout
        return found[1]


@pytest.fixture(scope="session")
def demo(strixfleet: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run the demo once; its host is gone after the last test."""
    done = strixfleet("demo", timeout_s=3000)
    log = Path(tmp_path_factory.getbasetemp()) / "demo.log"
    log.write_text(done.stdout + done.stderr)
    try:
        yield Demo(lifecycle.named("demo"), done)
    finally:
        lifecycle.destroy("demo")
