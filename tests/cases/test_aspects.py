"""Each case: what the inventory says, what the host answered, what the audit must find. See README.md."""

from pathlib import Path

import pytest

from strixfleet.findings.items import Status
from strixfleet.managed.compiled import ASPECTS, questions_for
from tests.cases.aspect_cases import ASPECT_CASES, BASELINES, NotAskedError, Row, load_case
from tests.cases.record_expected import record_digests, record_expected


BASELINE_FILES = sorted(BASELINES.glob("*.yml"))
CASE_FILES = sorted(path for path in ASPECT_CASES.glob("*/*.yml") if path not in BASELINE_FILES)


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.fixture
def recording(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--record-expected"))


@pytest.mark.parametrize("path", BASELINE_FILES, ids=name_of)
def test_baseline_is_a_healthy_host(path: Path, recording: bool) -> None:
    if recording:
        record_digests(path)
    case = load_case(path)

    assert case.recorded.keys() - questions_for(case.host) == set(), "nothing asks this any more"
    assert not_ok(case.rows()) == {}


@pytest.mark.parametrize("path", CASE_FILES, ids=name_of)
def test_case(path: Path, recording: bool) -> None:
    """The rows of the aspect are as expected, each key that the case names; all others are ok."""
    prefix = f"{path.parent.name}:"
    if recording:
        record_expected(path, prefix)
    case = load_case(path)
    found = case.rows(prefix)

    named = {key: {name: found.get(key, {}).get(name) for name in row} for key, row in case.expected.items()}

    assert case.expected.keys() <= found.keys()
    assert named == case.expected
    assert not_ok({key: row for key, row in found.items() if key not in named}) == {}
    assert case.changed - questions_for(case.host) == set(), "nothing asks this any more"


def not_ok(rows: dict[str, Row]) -> dict[str, Row]:
    return {key: row for key, row in rows.items() if row["status"] != Status.OK}


@pytest.mark.parametrize("aspect", [*ASPECTS])
@pytest.mark.parametrize("kind", ["in_sync", "drifted", "unknown"])
def test_every_aspect_has_the_three_cases(aspect: str, kind: str) -> None:
    assert (ASPECT_CASES / aspect / f"{kind}.yml").is_file(), f"add tests/cases/aspects/{aspect}/{kind}.yml"


def test_a_question_without_an_answer_fails_the_case(tmp_path: Path) -> None:
    path = tmp_path / "case.yml"
    path.write_text("baseline: debian_13\nsettings: {kernel_arguments: {zswap.enabled: 0}}\nexpected: {}\n")

    with pytest.raises(NotAskedError, match=r"parameters zswap"):
        load_case(path).rows("kernel:")
