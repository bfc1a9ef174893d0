"""A plan says beforehand why a provision would fail, what it needs, and how long it takes."""

from io import StringIO
from pathlib import Path

import yaml

from strixfleet.commands.plan import plan_report
from strixfleet.fleet.forecast import Forecast, forecast
from strixfleet.fleet.session import ProbedHost, now
from strixfleet.inventory.schema.fleet_model import Fleet
from strixfleet.on_host.questions import Json
from strixfleet.report import terminal, words
from tests.cases.aspect_cases import ASPECT_CASES, load_case


BARE = "llama_cpp/bare_host"
HERE = Path(__file__).parent
FLEET = Fleet((), (str(HERE),), "known_hosts")


def seen(case: str = BARE, tmp_path: Path | None = None, **more: dict[str, Json]) -> ProbedHost:
    """Return a host as a case has it, with more settings and answers."""
    path = ASPECT_CASES / f"{case}.yml"
    if tmp_path is not None:
        document = yaml.safe_load(path.read_text())
        for key, changes in more.items():
            document[key] = {**document.get(key, {}), **changes}
        path = tmp_path / "case.yml"
        path.write_text(yaml.safe_dump(document))
    loaded = load_case(path)
    state, answers = loaded.state, loaded.answers
    return ProbedHost(state, answers, state.differences(answers), 0.1)


def forecast_of(one: ProbedHost) -> Forecast:
    return forecast(one, HERE)


def shown(one: ProbedHost) -> str:
    """Return the plan as a terminal shows it, on one line."""
    stream = StringIO()
    terminal.show(plan_report(FLEET, {"halo-1": one}, now()), stream=stream)
    return " ".join(stream.getvalue().split())


def test_a_full_disk_is_foretold(tmp_path: Path) -> None:
    full = seen(BARE, tmp_path, answers={"space /opt/strixfleet/llama.cpp": 1 << 30})
    assert (
        forecast_of(full)
        .refusals[0]
        .startswith("1.0 GiB are free below /opt or /var/lib, a build takes 4.0 GiB")
    )
    assert "provision would fail: 1.0 GiB are free" in shown(full)
    assert "provision would fail: 1.0 GiB" not in shown(seen())


def test_a_boot_loader_that_is_not_ours_is_foretold(tmp_path: Path) -> None:
    found = forecast_of(seen(BARE, tmp_path, answers={"stat /usr/sbin/update-grub": None})).refusals
    assert any("kernel arguments are written for grub only" in text for text in found)


def test_a_gtt_size_beyond_the_memory_is_foretold() -> None:
    found = forecast_of(seen("kernel/gtt_larger_than_the_memory_found")).refusals
    assert any(text.startswith("kernel_gtt_gib asks for 200 GiB") for text in found)


def test_a_model_that_is_nowhere_is_foretold(tmp_path: Path) -> None:
    found = forecast_of(seen(BARE, tmp_path, answers={"stat /home/strix/x y:1.gguf": None})).refusals
    assert (
        "/home/strix/x y:1.gguf is not on this host: put it there, or give the model another source" in found
    )


def test_a_model_larger_than_the_memory_is_foretold(tmp_path: Path) -> None:
    stat: Json = {"with": {"size_bytes": 200 << 30}}
    answers: dict[str, Json] = {"stat /home/strix/x y:1.gguf": stat, "run simulated": ""}
    found = forecast_of(seen(BARE, tmp_path, answers=answers)).refusals
    assert any(text.startswith("instance plain reads 200 GiB of models") for text in found)


def test_costs_and_packages_are_summed_up() -> None:
    found = forecast_of(seen())
    assert (found.builds, found.reboots) == (1, 0)
    assert {"cmake", "build-essential"} <= set(found.packages)
    text = shown(seen())
    assert "packages, where missing: " in text
    assert "in all: 1 build, about 19 minutes" in text


def test_a_host_in_order_costs_nothing() -> None:
    host = seen("llama_cpp/in_sync")
    assert forecast_of(host) == Forecast()
    assert "in all" not in shown(host)


def test_the_sum_is_in_the_operator_s_words() -> None:
    rows = [
        Forecast(reboots=1, builds=1, downloads=1, download_bytes=1_300_000_000, minutes=25).to_json(),
        Forecast(builds=1, minutes=20).to_json(),
    ]
    assert words.cost_of(rows) == "1 reboot, 2 builds, 1 download, 1.3 GB, about 25 minutes"
    assert words.cost_of([]) == ""


def test_our_own_program_is_one_line_of_a_plan() -> None:
    rows: list[dict[str, Json]] = [
        {"id": f"llama_cpp:/opt/strixfleet/lib/strixfleet/on_host/{name}.py", "cost": "none"}
        for name in "abc"
    ]
    other: dict[str, Json] = {"id": "llama_cpp:current", "cost": "build"}
    found = terminal.folded([*rows, other])
    assert [row["id"] for row in found] == ["llama_cpp:current", "llama_cpp:/opt/strixfleet/lib"]
    assert "3 files" in str(found[1]["want"])


def test_the_sizes_of_models_on_the_controller_are_counted(tmp_path: Path) -> None:
    absent: dict[str, Json] = {"stat /var/lib/strixfleet/models/small/small.gguf": None}
    host = seen(BARE, tmp_path, answers=absent)
    folder = tmp_path / "inventory"
    folder.mkdir()
    assert any(
        "../models/small.gguf is not on this controller" in one for one in forecast(host, folder).refusals
    )
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "small.gguf").write_bytes(b"x" * 1000)
    found = forecast(host, folder)
    assert (found.downloads, found.download_bytes, found.refusals) == (1, 1000, ())


def test_a_bad_pin_is_foretold(tmp_path: Path) -> None:
    bad: dict[str, Json] = {"llama_cpp_ref": "b8940"}
    assert any("pin b8941" in text for text in forecast_of(seen(BARE, tmp_path, settings=bad)).refusals)
    assert "provision would fail: b8940 lets any client" in shown(seen(BARE, tmp_path, settings=bad))
