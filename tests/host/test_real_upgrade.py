"""Two real releases of llama.cpp, there and back, with gate, pin and audit."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from strixfleet.sandbox.llama_source import import_from_sdist
from tests.conftest import Run
from tests.host.conftest import Demo
from tests.host.outside import root


pytestmark = [pytest.mark.host, pytest.mark.build, pytest.mark.soak]
OLD = "0.3.35"


def upgraded(demo: Demo, strixfleet: Run, repository: Path, tag: str) -> dict[str, Any]:
    where = ["-i", demo.inventory, "-e", json.dumps({"llama_cpp_repository": str(repository)})]
    done = strixfleet("upgrade", *where, "--to", tag, "--yes", "--retry", "--json", timeout_s=3000)
    assert done.returncode == 0, done.stderr
    row: dict[str, Any] = json.loads(done.stdout)["hosts"][demo.host]
    print(f"to {tag}: {row['downtime_s']} s without an answer", file=sys.__stderr__)
    for check in row["gate"]:
        print(f"  {check}", file=sys.__stderr__)
    assert row["outcome"] == "upgraded"
    current = root(demo.made, demo.host, "readlink /opt/strixfleet/llama.cpp/current")
    assert current.startswith(f"{tag}-")
    assert f'"llama_cpp_ref": "{tag}"' in Path(demo.inventory, "group_vars/all.yml").read_text()
    provisioned = strixfleet("provision", *where, "--yes")
    assert provisioned.returncode in {0, 1}, provisioned.stderr
    audit = strixfleet("audit", *where)
    assert audit.returncode == 0, audit.stdout
    assert root(demo.made, demo.host, "readlink /opt/strixfleet/llama.cpp/current") == current
    return row


def test_to_another_release_and_back(demo: Demo, strixfleet: Run, tmp_path: Path) -> None:
    settings = yaml.safe_load(Path(demo.inventory, "group_vars/all.yml").read_text())
    copy = tmp_path / "two.git"
    source = settings["llama_cpp_repository"]
    subprocess.run(["git", "clone", "-q", "--bare", "--shared", source, str(copy)], check=True)
    import_from_sdist(copy, OLD, parent=settings["llama_cpp_ref"])
    upgraded(demo, strixfleet, copy, f"v{OLD}")
    upgraded(demo, strixfleet, copy, settings["llama_cpp_ref"])
