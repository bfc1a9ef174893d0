import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from strixfleet.on_host.switch.option_aliases import OPTIONS


Plugin = Callable[[str], ModuleType]
UNUSED = """\
-- Configuring done (1.1s)
CMake Warning:
  Manually-specified variables were not used by the project:

    GGML_HIPBLAS
    LLAMA_FOO


-- Build files have been written to: /x
"""


@pytest.fixture
def compile_steps(plugin: Plugin) -> ModuleType:
    return plugin("module_utils.build_compile")


@pytest.fixture
def publish_steps(plugin: Plugin) -> ModuleType:
    return plugin("module_utils.build_publish")


@pytest.fixture
def source_steps(plugin: Plugin) -> ModuleType:
    return plugin("module_utils.build_source")


@pytest.fixture
def process_steps(plugin: Plugin) -> ModuleType:
    return plugin("module_utils.build_process")


def test_definitions_that_cmake_ignored_are_read(compile_steps: ModuleType) -> None:
    assert compile_steps.unused_definitions(UNUSED.splitlines()) == ["GGML_HIPBLAS", "LLAMA_FOO"]
    assert compile_steps.unused_definitions(["-- Configuring done (1.1s)"]) == []


@pytest.mark.parametrize(
    ("job_gib", "free_mib", "cores", "jobs"),
    [(1, 64000, 16, 16), (1, 3500, 16, 3), (2, 31000, 32, 15), (2, 2100, 8, 1)],
)
def test_jobs_fit_into_memory(
    compile_steps: ModuleType, job_gib: int, free_mib: int, cores: int, jobs: int
) -> None:
    assert compile_steps.job_count(job_gib << 30, f"MemAvailable: {free_mib * 1024} kB\n", cores) == jobs


def test_too_little_memory_is_said_before_anything_is_compiled(
    compile_steps: ModuleType, process_steps: ModuleType
) -> None:
    with pytest.raises(process_steps.BuildError, match="MiB of memory are free"):
        compile_steps.job_count(2 << 30, "MemAvailable: 900000 kB\n", 8)


def test_a_variable_of_the_build_is_what_a_command_prints(compile_steps: ModuleType, tmp_path: Path) -> None:
    class Told:
        folder = str(tmp_path)

        def run(self, argv: list[str], cwd: str) -> list[str]:
            assert cwd == self.folder
            return ["a warning", f"/usr/{argv[1]} "]

    asked = {"HIPCXX": (["hipconfig", "-l"], "/clang"), "HIP_PATH": (["hipconfig", "-R"], "")}
    assert compile_steps.asked_environment(Told(), asked) == {
        "HIPCXX": "/usr/-l/clang",
        "HIP_PATH": "/usr/-R",
    }


def test_of_names_that_changed_over_time_the_known_one_is_used(
    compile_steps: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "CMakeLists.txt").write_text("if(LLAMA_BUILD_WEBUI)\nendif()\n", encoding="ascii")
    offline = [(["LLAMA_BUILD_UI", "LLAMA_BUILD_WEBUI"], "OFF"), (["LLAMA_CURL"], "OFF")]
    assert compile_steps.known_definitions(str(tmp_path), offline) == {"LLAMA_BUILD_WEBUI": "OFF"}


def test_missing_shader_extensions_are_recorded(compile_steps: ModuleType) -> None:
    lines = ["-- GL_KHR_cooperative_matrix supported by glslc", "-- GL_EXT_bfloat16 not supported by glslc"]
    found = compile_steps.shader_features(lines)
    assert found == {"GL_KHR_cooperative_matrix": True, "GL_EXT_bfloat16": False}


def test_a_compilers_complaint_is_passed_on(process_steps: ModuleType) -> None:
    lines = ["[3/9] Building error.cpp.o", "x.cpp:3:1: error: no semicolon", "ninja: build stopped"]
    text = process_steps.explain("cmake", 1, lines)
    assert "no semicolon" in text
    assert "error.cpp.o" not in text


def test_lack_of_memory_is_named(process_steps: ModuleType) -> None:
    text = process_steps.explain("cmake", 1, ["c++: fatal error: Killed signal terminated program cc1plus"])
    assert "out of memory" in text


@pytest.mark.parametrize(
    ("text", "commit", "number"),
    [
        ("version: 10360 (90e6a9131)\nbuilt with GNU", "90e6a9131", 10360),
        ("version: 0.5.0-dev (build 2, commit 6684045)\nbuilt with", "6684045", 2),
    ],
)
def test_both_forms_of_a_version_are_read(
    publish_steps: ModuleType, text: str, commit: str, number: int
) -> None:
    found = publish_steps.VERSION.search(text)
    assert (found[2], int(found[1])) == (commit, number)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Lay out what a compiler leaves."""
    folder = tmp_path / "obj"
    (folder / "bin").mkdir(parents=True)
    for name in (
        "llama-server",
        "llama-bench",
        "strixfleet-membw",
        "rpc-server",
        "libllama.so.0.5.0",
        "x.txt",
    ):
        (folder / "bin" / name).write_text(name, encoding="ascii")
    (folder / "bin" / "libllama.so.0").symlink_to("libllama.so.0.5.0")
    return folder


def test_only_programs_and_libraries_are_published(
    publish_steps: ModuleType, made: Path, tmp_path: Path
) -> None:
    partial, final = tmp_path / ".b1.partial", tmp_path / "b1"
    partial.mkdir()
    publish_steps.collect(str(made), str(partial))
    publish_steps.publish(str(partial), str(final), {"id": "b1"})
    files = json.loads((final / "manifest.json").read_text(encoding="ascii"))["files"]
    assert sorted(files) == [
        "bin/llama-bench",
        "bin/llama-server",
        "bin/strixfleet-membw",
        "lib/libllama.so.0",
        "lib/libllama.so.0.5.0",
    ]
    (final / OPTIONS).write_text("what the host program writes is no part of it", encoding="ascii")
    assert publish_steps.intact(str(final))
    assert not partial.exists()


def test_a_link_that_leaves_its_folder_is_refused(
    publish_steps: ModuleType, process_steps: ModuleType, made: Path, tmp_path: Path
) -> None:
    (made / "bin" / "libevil.so").symlink_to("/etc/shadow")
    with pytest.raises(process_steps.BuildError, match="leaves its folder"):
        publish_steps.collect(str(made), str(tmp_path))


@pytest.mark.parametrize("kind", ["fifo", "device", "socket", "folder"])
def test_what_is_not_a_plain_file_is_refused_at_once(
    publish_steps: ModuleType, process_steps: ModuleType, made: Path, tmp_path: Path, kind: str
) -> None:
    """A FIFO would hang the module, which holds the lock for builds."""
    path = made / "bin" / "libevil.so"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        os.mknod(path, 0o600 | stat.S_IFSOCK)
    elif os.geteuid() == 0:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero
    else:
        pytest.skip("only root makes devices")
    with pytest.raises(process_steps.BuildError, match=r"libevil\.so is not a plain file"):
        publish_steps.collect(str(made), str(tmp_path))


def test_a_folder_of_programs_that_is_a_link_is_refused(
    publish_steps: ModuleType, process_steps: ModuleType, made: Path, tmp_path: Path
) -> None:
    (made / "bin").rename(made / "elsewhere")
    (made / "bin").symlink_to(made / "elsewhere")
    with pytest.raises(process_steps.BuildError, match="the build has no folder bin"):
        publish_steps.collect(str(made), str(tmp_path))


def test_number_and_size_of_what_is_published_are_capped(
    publish_steps: ModuleType,
    process_steps: ModuleType,
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publish_steps, "MOST_BYTES", 20)
    with pytest.raises(process_steps.BuildError, match="is larger than"):
        publish_steps.collect(str(made), str(tmp_path / "first"))
    monkeypatch.setattr(publish_steps, "MOST_FILES", 3)
    with pytest.raises(process_steps.BuildError, match="made 5 programs and libraries, more than 3"):
        publish_steps.collect(str(made), str(tmp_path / "second"))


@pytest.mark.programs
def test_the_tree_is_told_from_the_files_themselves(source_steps: ModuleType, tmp_path: Path) -> None:
    """Git's own word for it would be as good as its configuration."""

    def git(*words: str) -> str:
        who = {f"GIT_{role}_{key}": "t@t" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        argv = ["git", "-C", str(tmp_path), "-c", "core.autocrlf=false", *words]
        done = subprocess.run(argv, check=True, capture_output=True, text=True, env={**os.environ, **who})
        return done.stdout.strip()

    git("init", "-q")
    for name in ("a", "a.b", "a-c/x", "a0", "sub/deep/ünï", "run.sh"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "link").symlink_to("a")
    git("add", "-A")
    submodule = "1" * 40
    git("update-index", "--add", "--cacheinfo", f"160000,{submodule},vendor/x")
    git("commit", "-qm", "all kinds")
    (tmp_path / "vendor" / "x").mkdir(parents=True)

    def found() -> str:
        return str(source_steps.tree_id(str(tmp_path), {"vendor/x": submodule}))

    honest = git("rev-parse", "HEAD^{tree}")
    assert found() == honest
    (tmp_path / "a").write_text("b", encoding="utf-8")
    assert found() != honest
    (tmp_path / "a").write_text("a", encoding="utf-8")
    (tmp_path / "run.sh").chmod(0o644)
    assert found() != honest
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "sub" / "more").write_text("", encoding="utf-8")
    assert found() != honest


def test_repositories_share_no_compiler_cache(
    compile_steps: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a hostile build wrote into its cache must not answer for another repository."""
    monkeypatch.setattr(compile_steps, "CCACHE", str(tmp_path / "ccache"))
    monkeypatch.setattr(os, "chown", lambda *_given: None)
    workshop = SimpleNamespace(account=SimpleNamespace(pw_uid=1, pw_gid=1))
    evil = Path(compile_steps.cache_folder(workshop, "https://evil.example/llama.cpp"))
    (evil / "object").write_text("x", encoding="ascii")
    good = Path(compile_steps.cache_folder(workshop, "https://good.example/llama.cpp"))
    assert good != evil
    assert not evil.exists()
    (good / "object").write_text("x", encoding="ascii")
    assert Path(compile_steps.cache_folder(workshop, "https://good.example/llama.cpp")) == good
    assert (good / "object").exists() == (os.geteuid() == 0)


@pytest.mark.parametrize("trap", ["fifo", "link", "endless"])
def test_a_trap_among_the_sources_is_not_read(compile_steps: ModuleType, tmp_path: Path, trap: str) -> None:
    path = tmp_path / "CMakeLists.txt"
    if trap == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if trap == "endless" else __file__)
    (tmp_path / "own.cmake").write_text("LLAMA_CURL", encoding="ascii")
    offline = [(["compile_steps"], "1"), (["LLAMA_CURL"], "OFF")]
    assert compile_steps.known_definitions(str(tmp_path), offline) == {"LLAMA_CURL": "OFF"}


@pytest.mark.parametrize("harm", ["flip", "remove", "add", "manifest"])
def test_a_damaged_build_is_replaced_as_a_whole(
    publish_steps: ModuleType, made: Path, tmp_path: Path, harm: str
) -> None:
    final = tmp_path / "b1"
    for attempt in range(2):
        partial = tmp_path / ".b1.partial"
        partial.mkdir()
        publish_steps.collect(str(made), str(partial))
        publish_steps.publish(str(partial), str(final), {"id": "b1"})
        assert publish_steps.intact(str(final))
        if attempt == 0:
            target = final / ("manifest.json" if harm == "manifest" else "bin/llama-server")
            if harm == "remove":
                target.unlink()
            elif harm == "add":
                (final / "bin" / "rpc-server").write_text("x", encoding="ascii")
            else:
                target.write_text("{", encoding="ascii")
            assert not publish_steps.intact(str(final))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b1", "obj"]
