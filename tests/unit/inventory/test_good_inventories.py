"""Inventories of every kind that Ansible reads, read as Ansible reads them."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from strixfleet.errors import MistakeCode, UsageError
from strixfleet.inventory import load as inventory_module
from strixfleet.inventory.ansible.values import WRONG_SECRET_HINT
from strixfleet.inventory.load import examine, load
from strixfleet.inventory.request import InventoryRequest
from strixfleet.inventory.schema.fleet_model import Fleet


SHA = "a" * 64
HOSTS = "all:\n  hosts:\n    h1:\n      ansible_host: 192.0.2.1\n    h2:\n"
PIN = "llama_cpp_ref: b10991\n"
FULL = f"""\
hardware_profile: strix-halo-128
kernel_gtt_gib: 120
kernel_gtt_parameters: both
kernel_arguments: {{iommu: pt, quiet: absent, amdgpu.lockup_timeout: "9,9,9,9", nosplash: null}}
llama_cpp_repository: /srv/mirror/llama.cpp.git
llama_cpp_ref: 0c1e57098a1b2c3d4e5f60718293a4b5c6d7e8f9
llama_cpp_backend: rocm
llama_cpp_cmake_arguments: {{GGML_NATIVE: off, GGML_HIP_NO_VMM: "ON", CMAKE_CXX_FLAGS: -march=znver5}}
llama_models:
  - {{name: a, url: "https://models.example.org/a.gguf", sha256: {SHA}}}
  - {{name: b, path: models/b.gguf, sha256: {SHA}}}
  - {{name: c, host_path: /data/c.gguf, sha256: {SHA.upper()}}}
  - name: d
    files:
      - {{url: "https://models.example.org/d-00001-of-00002.gguf", sha256: {SHA}}}
      - {{url: "https://models.example.org/d%2D00002-of-00002.gguf?download=true", sha256: {SHA}}}
llama_server_instances:
  - name: chat
    model: a
    port: 8080
    host: 100.64.0.7
    context_size: 4096
    draft_model: b
    arguments: {{n-gpu-layers: 999, flash-attn: "on", no-mmap: null, temp: 0.5}}
    environment: {{RADV_PERFTEST: nogttspill, HSA_ENABLE_SDMA: 0}}
    api_key: geheim
tailscale_enabled: true
tailscale_auth_key: tskey-geheim
tailscale_tags: ["tag:llm"]
smoke_bench: {{model: d, tolerance: 0.1, repetitions: 5}}
rollout_canary: h2
rollout_batch: 25%
audit_waivers:
  - {{item: "kernel:ttm.pages_limit", reason: soon, expires: 2999-12-31}}
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_yml", ".yml").replace("_ini", ".ini")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def fleet(folder: Path, **request: object) -> Fleet:
    return load(InventoryRequest((str(folder),), **request))  # type: ignore[arg-type]


def test_every_variable_of_the_contract(tmp_path: Path) -> None:
    write(tmp_path, hosts_yml=HOSTS, group_vars__all_yml=FULL)
    settings = fleet(tmp_path).host("h1").settings
    assert settings.kernel_arguments == {
        "iommu": "pt",
        "quiet": "absent",
        "amdgpu.lockup_timeout": "9,9,9,9",
        "nosplash": None,
    }
    assert settings.llama_cpp_cmake_arguments["GGML_NATIVE"] == "OFF"
    assert [part.file_name for part in settings.llama_models[3].parts] == [
        "d-00001-of-00002.gguf",
        "d-00002-of-00002.gguf",
    ]
    assert settings.llama_models[0].parts[0].file_name == "a.gguf"
    assert settings.llama_models[2].sha256 == SHA
    chat = settings.llama_server_instances[0]
    assert chat.arguments == {"n-gpu-layers": "999", "flash-attn": "on", "no-mmap": None, "temp": "0.5"}
    assert chat.environment["HSA_ENABLE_SDMA"] == "0"
    assert chat.api_key is not None
    assert chat.api_key.get_secret_value() == "geheim"
    assert settings.rollout_batch == "25%"


def test_secrets_never_show(tmp_path: Path) -> None:
    extra = FULL + 'ansible_become_password: geheim\nansible_password: "geheim"\nllama_models_token: geheim\n'
    write(tmp_path, hosts_yml=HOSTS, group_vars__all_yml=extra)
    whole = fleet(tmp_path)
    assert "geheim" not in repr(whole)
    assert "geheim" not in str(whole.hosts[0].settings.model_dump_json())
    become = whole.hosts[0].connection.become_password
    assert become is not None
    assert become.get_secret_value() == "geheim"


def test_defaults_of_a_host_that_says_nothing(tmp_path: Path) -> None:
    write(tmp_path, hosts_yml="all:\n  hosts:\n    h1:\n", group_vars__all_yml=PIN)
    (host,) = fleet(tmp_path).hosts
    assert (host.connection.address, host.connection.port, host.connection.become) == ("h1", 22, True)
    assert host.settings.llama_server_instances == ()
    assert host.settings.kernel_gtt_gib == "auto"


def test_ini_and_groups(tmp_path: Path) -> None:
    text = "[halo]\nh[1:2] ansible_port=2222 kernel_gtt_gib=96\n\n[halo:vars]\nllama_cpp_ref=b10991\n"
    ini = f"{text}kernel_arguments={{'iommu': 'pt'}}\n\n[boxes:children]\nhalo\n"
    write(tmp_path, hosts_ini=ini)
    hosts = fleet(tmp_path / "hosts.ini").hosts
    assert [host.name for host in hosts] == ["h1", "h2"]
    assert hosts[0].groups[0] == "all"
    assert set(hosts[0].groups) == {"all", "boxes", "halo"}
    assert hosts[1].settings.kernel_arguments == {"iommu": "pt"}
    assert hosts[1].connection.port == 2222
    assert str(hosts[1].origins["kernel_gtt_gib"]).endswith("hosts.ini:2")


def test_a_boolean_of_a_range_of_hosts_has_its_line(tmp_path: Path) -> None:
    write(
        tmp_path,
        hosts_ini="[halo]\nx llama_cpp_ref=v1.0.1\nh[01:20].lan kernel_gtt_gib=True llama_cpp_ref=v1.0.1\n",
    )
    (mistake,) = examine(InventoryRequest((str(tmp_path / "hosts.ini"),))).mistakes
    assert (mistake.line, mistake.field) == (3, "kernel_gtt_gib")
    assert mistake.host == "h01.lan, h02.lan, h03.lan and 17 more"


def test_precedence_and_folders_of_vars(tmp_path: Path) -> None:
    write(
        tmp_path,
        hosts_yml="all:\n  children:\n    fast:\n      hosts:\n        h1:\n        h2:\n",
        group_vars__all__one_yml=PIN + "kernel_gtt_gib: 10\ntuning_enabled: true\n",
        group_vars__all__two_yml="llama_cpp_backend: cpu\n",
        group_vars__fast_yml="kernel_gtt_gib: 20\ntuning_enabled: no\n",
        host_vars__h1_yml="kernel_gtt_gib: 30\n",
    )
    hosts = fleet(tmp_path).hosts
    assert [host.settings.kernel_gtt_gib for host in hosts] == [30, 20]
    assert hosts[0].settings.llama_cpp_backend == "cpu"
    assert not hosts[0].settings.tuning_enabled
    where = {name: str(origin) for name, origin in hosts[0].origins.items()}
    assert where["kernel_gtt_gib"].endswith("host_vars/h1.yml:1")
    assert where["tuning_enabled"].endswith("group_vars/fast.yml:2")
    assert where["llama_cpp_ref"].endswith("group_vars/all/one.yml:1")


def test_templates_are_resolved_and_marked(tmp_path: Path) -> None:
    text = (
        "pin: b10991\nllama_cpp_ref: '{{ pin }}'\nsize: 96\nkernel_gtt_gib: '{{ size + 4 }}'\n"
        f"base: [{{name: a, path: a.gguf, sha256: {SHA}}}]\nllama_models: '{{{{ base + [] }}}}'\n"
        "tailscale_hostname: '{{ inventory_hostname }}'\nrollout_canary: \"{{ groups['all'][0] }}\"\n"
        "llama_cpp_backend: \"{{ hostvars['h1'].size | ternary('cpu', 'rocm') }}\"\n"
    )
    write(tmp_path, hosts_yml=HOSTS, group_vars__all_yml=text)
    host = fleet(tmp_path).host("h2")
    assert host.settings.llama_cpp_ref == "b10991"
    assert host.settings.kernel_gtt_gib == 100
    assert host.settings.llama_models[0].name == "a"
    assert host.settings.tailscale_hostname == "h2"
    assert host.settings.rollout_canary == "h1"
    assert host.settings.llama_cpp_backend == "cpu"
    assert host.origins["llama_cpp_ref"].templated
    assert str(host.origins["llama_cpp_ref"]).endswith("all.yml:2")


def vault(tmp_path: Path, *arguments: str) -> str:
    program = Path(sys.executable).parent / "ansible-vault"
    argv = [str(program), *arguments, "--vault-password-file", str(tmp_path / "password")]
    return subprocess.run(argv, check=True, capture_output=True, text=True, cwd=tmp_path).stdout


def test_vault_files_and_values(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pw\n")
    folder = tmp_path / "fleet"
    write(folder, hosts_yml=HOSTS, group_vars__all__vault_yml="tailscale_auth_key: tskey-geheim\nother: 1\n")
    vault(tmp_path, "encrypt", str(folder / "group_vars/all/vault.yml"))
    inline = vault(tmp_path, "encrypt_string", "geheim", "--name", "llama_models_token")
    write(folder, group_vars__all__main_yml=PIN + inline + "\n")
    settings = fleet(folder, vault_password_files=(str(tmp_path / "password"),)).hosts[0].settings
    assert settings.tailscale_auth_key is not None
    assert settings.tailscale_auth_key.get_secret_value() == "tskey-geheim"
    assert settings.llama_models_token is not None
    assert settings.llama_models_token.get_secret_value() == "geheim"


def test_mistakes_inside_a_vault_have_their_line(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pw\n")
    folder = tmp_path / "fleet"
    write(folder, hosts_yml=HOSTS, group_vars__all_yml=PIN + "kernel_gtt_gib: 9\nkernel_gtt_gib: 8\n")
    vault(tmp_path, "encrypt", str(folder / "group_vars/all.yml"))
    request = InventoryRequest((str(folder),), vault_password_files=(str(tmp_path / "password"),))
    (mistake,) = examine(request).mistakes
    assert (mistake.line, mistake.code) == (3, MistakeCode.SET_TWICE)


def test_a_password_that_does_not_open_a_vault_is_said_to_be_wrong(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pw\n")
    folder = tmp_path / "fleet"
    inline = vault(tmp_path, "encrypt_string", "geheim", "--name", "llama_models_token")
    write(folder, hosts_yml=HOSTS, group_vars__all__main_yml=PIN + inline + "\n")
    write(folder, group_vars__all__vault_yml="other: 1\n")
    (tmp_path / "other").write_text("no\n")
    request = InventoryRequest((str(folder),), vault_password_files=(str(tmp_path / "other"),))
    assert {mistake.hint for mistake in examine(request).mistakes} == {WRONG_SECRET_HINT}
    vault(tmp_path, "encrypt", str(folder / "group_vars/all/vault.yml"))
    assert {mistake.hint for mistake in examine(request).mistakes} == {WRONG_SECRET_HINT}


SCRIPT = """#!{python}
import json
print(json.dumps({{"halo": {{"hosts": ["d1", "d2"], "vars": {{"kernel_gtt_gib": 64, "lama_cpp_ref": "b1"}}}},
  "_meta": {{"hostvars": {{"d1": {{"llama_cpp_ref": "b10991", "ansible_host": "192.0.2.7",
  "tailscale_hostname": "$(touch pwned)"}}}}}}}}))
"""


def test_dynamic_inventories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "cloud.py"
    script.write_text(SCRIPT.format(python=sys.executable))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.chdir(tmp_path)
    messages = [str(mistake) for mistake in examine(InventoryRequest((str(script),))).mistakes]
    assert any("lama_cpp_ref: is not known; hint: write llama_cpp_ref" in text for text in messages)
    assert any("tailscale_hostname" in text and "not a valid host name" in text for text in messages)
    assert not (tmp_path / "pwned").exists()


def test_extra_vars_win(tmp_path: Path) -> None:
    write(tmp_path / "i", hosts_yml=HOSTS, group_vars__all_yml=PIN + "kernel_gtt_gib: 10\n")
    (tmp_path / "extra.yml").write_text("tailscale_hostname: x1\n")
    extra = ("kernel_gtt_gib=20 llama_cpp_backend=cpu", '{"tuning_enabled": false}', f"@{tmp_path}/extra.yml")
    settings = fleet(tmp_path / "i", extra_vars=extra).hosts[0].settings
    assert (settings.kernel_gtt_gib, settings.llama_cpp_backend) == (20, "cpu")
    assert not settings.tuning_enabled
    assert settings.tailscale_hostname == "x1"


def test_mistakes_in_extra_vars_say_so(tmp_path: Path) -> None:
    write(tmp_path, hosts_yml=HOSTS, group_vars__all_yml=PIN)
    loaded = examine(InventoryRequest((str(tmp_path),), extra_vars=("kernel_gtt_gib=lots",)))
    assert [mistake.file for mistake in loaded.mistakes] == ["-e"]


def test_limit(tmp_path: Path) -> None:
    write(tmp_path, hosts_yml=HOSTS, group_vars__all_yml=PIN)
    assert [host.name for host in fleet(tmp_path, limit="h2").hosts] == ["h2"]
    assert [host.name for host in fleet(tmp_path, limit="all:!h2").hosts] == ["h1"]
    with pytest.raises(UsageError, match="matches no host"):
        fleet(tmp_path, limit="h3")
    with pytest.raises(UsageError, match="'h3' matches no host"):
        fleet(tmp_path, limit="h1,h3")
    assert len(fleet(tmp_path, limit="all:!h3").hosts) == 2


def test_list_of_hosts_on_the_command_line() -> None:
    loaded = examine(InventoryRequest(("192.0.2.8,192.0.2.9,",), extra_vars=("llama_cpp_ref=b10991",)))
    assert loaded.fleet is not None
    assert [host.connection.address for host in loaded.fleet.hosts] == ["192.0.2.8", "192.0.2.9"]


def test_where_the_inventory_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANSIBLE_INVENTORY", raising=False)
    monkeypatch.setattr(inventory_module, "_configured", tuple)
    with pytest.raises(UsageError, match="no inventory"):
        load(InventoryRequest())
    write(tmp_path / "inventory", hosts_yml=HOSTS, group_vars__all_yml=PIN)
    assert len(load(InventoryRequest()).hosts) == 2
    write(tmp_path / "other", hosts_yml="all:\n  hosts:\n    x:\n", group_vars__all_yml=PIN)
    monkeypatch.setenv("ANSIBLE_INVENTORY", str(tmp_path / "other"))
    assert [host.name for host in load(InventoryRequest()).hosts] == ["x"]
    assert load(InventoryRequest(("inventory",))).source == ("inventory",)
    with pytest.raises(UsageError, match="no such inventory"):
        load(InventoryRequest(("missing",)))


def test_known_hosts_stand_beside_the_inventory(tmp_path: Path) -> None:
    write(tmp_path, hosts_yml=HOSTS, group_vars__all_yml=PIN)
    assert fleet(tmp_path).known_hosts == str(tmp_path / ".strixfleet" / "known_hosts")
    assert fleet(tmp_path / "hosts.yml").known_hosts == str(tmp_path / ".strixfleet" / "known_hosts")
    write(tmp_path, **{".strixfleet/known_hosts": "h1 ssh-ed25519 AAAA\n"})
    assert len(fleet(tmp_path).hosts) == 2


def test_a_second_load_sees_what_changed(tmp_path: Path) -> None:
    write(tmp_path, hosts_yml=HOSTS, group_vars__all_yml=PIN)
    assert fleet(tmp_path).hosts[0].settings.kernel_gtt_gib == "auto"
    write(
        tmp_path, group_vars__all_yml=PIN + "kernel_gtt_gib: 12\n", host_vars__h2_yml="kernel_gtt_gib: 13\n"
    )
    assert [host.settings.kernel_gtt_gib for host in fleet(tmp_path).hosts] == [12, 13]


def test_foreign_names_warn(tmp_path: Path) -> None:
    text = PIN + "tailscale_authkey: x\nkernel_cmdline: y\nvault_tailscale_auth_key: z\nmy_own: 1\n"
    write(tmp_path, hosts_yml=HOSTS, group_vars__all_yml=text, group_vars__al_yml="a: 1\n")
    warnings = fleet(tmp_path).warnings
    assert [(item.field, Path(item.file).name, item.line) for item in warnings] == [
        ("", "al.yml", 0),
        ("tailscale_authkey", "all.yml", 2),
        ("kernel_cmdline", "all.yml", 3),
    ]
    assert "strixfleet reads tailscale_auth_key instead" in warnings[1].hint


def test_slips_of_connection_variables_warn(tmp_path: Path) -> None:
    names = ("ansible_hots", "ansible_usr", "ansible_scp_extra_args", "ansible_user_id", "ansible_shell_type")
    write(tmp_path, hosts_yml=HOSTS, group_vars__all_yml=PIN + "".join(f"{name}: x\n" for name in names))
    warnings = fleet(tmp_path).warnings
    assert [(item.field, item.line, item.hint) for item in warnings] == [
        ("ansible_hots", 2, "write ansible_host"),
        ("ansible_usr", 3, "write ansible_user"),
    ]


def test_a_vars_file_that_is_linked_into_its_folder_is_read(tmp_path: Path) -> None:
    write(tmp_path, hosts_yml=HOSTS, group_vars__all__main_yml=PIN)
    (tmp_path / "group_vars" / "all.yml").symlink_to("all/main.yml")
    assert fleet(tmp_path).warnings == ()


def test_aliases_and_merge_keys_within_reason(tmp_path: Path) -> None:
    text = f"""{PIN}
base: &base {{model: a, context_size: 4096}}
llama_models: [{{name: a, path: a.gguf, sha256: {SHA}}}]
llama_server_instances:
  - <<: *base
    name: one
    port: 8081
  - <<: *base
    name: two
    port: 8082
"""
    write(tmp_path, hosts_yml=HOSTS, group_vars__all_yml=text)
    assert [item.context_size for item in fleet(tmp_path).hosts[0].settings.llama_server_instances] == [
        4096
    ] * 2


def test_expired_waivers_warn(tmp_path: Path) -> None:
    text = f'{PIN}audit_waivers: [{{item: "a:b", reason: c, expires: 2001-01-01}}]\n'
    write(tmp_path, hosts_yml=HOSTS, group_vars__all_yml=text)
    (warning,) = fleet(tmp_path).warnings
    assert "expired on 2001-01-01" in warning.message
    assert warning.line == 2
