"""Create, reset and destroy sandboxes: disposable systemd hosts on this machine."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from strixfleet.errors import SandboxError, UsageError
from strixfleet.sandbox import machine, network, sandbox_state
from strixfleet.sandbox.boxes import (
    NAME,
    Sandbox,
    SandboxHost,
    SandboxRequest,
    box_facts,
    box_named,
    free_subnet,
    host_address,
    inventory_text,
    mistakes_in,
    ssh_config_text,
)
from strixfleet.sandbox.guest import host_key_lines, resolv_conf, write_seed
from strixfleet.sandbox.image import base_folder, base_image
from strixfleet.sandbox.machine_tools import require_root_and_tools, run


UNSAFE_IN_MOUNTS = set(',:\\"')
Progress = Callable[[str], None]


def create(request: SandboxRequest, progress: Progress = lambda _text: None) -> Sandbox:
    """Create and boot a sandbox; if that fails, remove all of it."""
    require_root_and_tools()
    if mistakes := mistakes_in(request, sandbox_state.names()):
        raise UsageError("; ".join(mistakes), where="sandbox")
    lower = _lower(request.layer, progress)
    sandbox = None
    try:
        with sandbox_state.locked():
            sandbox = _place(request)
            changes = network.set_up(sandbox)
        for change in changes:
            progress(f"on this machine: {change}")
        if "nameserver 127." in resolv_conf():
            progress(
                "warning: the name server of this machine listens on loopback; the hosts cannot reach it"
            )
        _furnish(sandbox, box_facts(request.box, request.memory_gib))
        progress(f"booting {len(sandbox.hosts)} simulated {box_named(request.box).label}")
        _boot(sandbox, sandbox.hosts, lower)
    except BaseException as error:
        if sandbox is None:  # the name may belong to another sandbox
            raise
        destroy(request.name)
        if isinstance(error, OSError):
            raise SandboxError(str(error), where=request.name) from error
        raise
    return sandbox


def _place(request: SandboxRequest) -> Sandbox:
    """Choose addresses and names, and record them before anything is created."""
    folder = sandbox_state.state_dir() / request.name
    others = [record for name in sandbox_state.names() if (record := sandbox_state.read_record(name))]
    if UNSAFE_IN_MOUNTS & set(str(folder)):
        raise UsageError(
            f"{folder} cannot be mounted",
            where="sandbox",
            hint="choose a state folder without comma, colon, quote or backslash",
        )
    subnet = free_subnet([*network.networks_in_use(), *(other.subnet for other in others)])
    if subnet is None:
        raise SandboxError("there is no free network in 10.231.0.0/16", where=request.name)
    hosts = tuple(
        SandboxHost(name, host_address(subnet, number), folder / "hosts" / name)
        for number in range(1, request.hosts + 1)
        for name in [f"{request.name}-{number}"]
    )
    taken = network.links_in_use() | {other.bridge for other in others}
    bridge = network.bridge_of(request.name, taken)
    sandbox = Sandbox(request.name, folder, request.box, subnet, bridge, hosts)
    try:
        folder.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        raise UsageError(f"{request.name} was just created by another process", where="sandbox") from None
    sandbox_state.write_record(sandbox)
    return sandbox


def _furnish(sandbox: Sandbox, box: dict[str, object]) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", sandbox.name, "-f", str(sandbox.ssh_key)])
    for host in sandbox.hosts:
        host.folder.mkdir(parents=True)
        write_seed(sandbox, host, box)
    lines = [line for host in sandbox.hosts for line in host_key_lines(host)]
    sandbox_state.write_atomically(sandbox.known_hosts, "\n".join(lines) + "\n")
    sandbox_state.write_atomically(sandbox.inventory / "hosts.yml", inventory_text(sandbox))
    sandbox_state.write_atomically(sandbox.ssh_config, ssh_config_text(sandbox))


def _boot(sandbox: Sandbox, hosts: tuple[SandboxHost, ...], lower: list[Path]) -> None:
    for host in hosts:
        machine.start(sandbox, host, lower)
    with ThreadPoolExecutor() as pool:
        list(pool.map(machine.wait_for_ssh, hosts))


def named(name: str) -> Sandbox:
    """Return a sandbox by name; raise UsageError if there is none."""
    sandbox = sandbox_state.read_record(name)
    if sandbox is None:
        raise UsageError(f"there is no sandbox {name!r}", where="sandbox", hint="strixfleet sandbox list")
    return sandbox


def destroy(name: str) -> bool:
    """Remove a sandbox, complete or not; return whether it existed."""
    require_root_and_tools()
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a valid sandbox name", where="sandbox", hint="strixfleet sandbox list"
        )
    with sandbox_state.locked():
        folder = sandbox_state.state_dir() / name
        existed = folder.is_dir()
        sandbox = sandbox_state.read_record(name)
        for host in sandbox.hosts if sandbox else ():
            machine.kill(host)
        if sandbox:
            network.tear_down(sandbox)
        if existed:
            shutil.rmtree(folder)
        network.restore_forwarding()
        machine.remove_runtime_folder()
    return existed


def reset(sandbox: Sandbox, *host_names: str, layer: str | None = None) -> None:
    """Delete everything that hosts wrote, and boot them again from the base system or from a layer."""
    hosts = tuple(sandbox.host(name) for name in host_names) or sandbox.hosts
    lower = _lower(layer, lambda _text: None)
    for host in hosts:
        machine.kill(host)
        machine.wipe(host)
    _boot(sandbox, hosts, lower)


def is_running(host: SandboxHost) -> bool:
    """Tell whether any process of a host is alive."""
    return bool(machine.processes_of(host.folder))


def layers_dir() -> Path:
    """Return the folder of layers for the current base system."""
    return sandbox_state.cache_dir() / "layers" / base_folder().name


def has_layer(name: str) -> bool:
    """Tell whether a layer exists."""
    return (layers_dir() / name).is_dir()


def save_layer(sandbox: Sandbox, host_name: str, layer: str) -> None:
    """Save what a host wrote as a layer that other hosts can start from; this reboots the host."""
    host = sandbox.host(host_name)
    lower = machine.lower_of(host)
    machine.power_off(host)
    target = layers_dir() / layer
    target.parent.mkdir(parents=True, exist_ok=True)
    copy = target.with_name(f".{layer}.new")
    shutil.rmtree(copy, ignore_errors=True)
    run(["cp", "-a", "--reflink=auto", str(host.folder / "upper"), str(copy)])
    shutil.rmtree(target, ignore_errors=True)
    copy.rename(target)
    _boot(sandbox, (host,), lower)


def _lower(layer: str | None, progress: Progress) -> list[Path]:
    with sandbox_state.locked():
        base = base_image(progress)
    if layer is None:
        return [base]
    if not has_layer(layer):
        raise UsageError(f"there is no layer {layer!r}", where="sandbox")
    return [layers_dir() / layer, base]


def delete_layer(name: str) -> None:
    """Delete a layer, which no running host may use."""
    shutil.rmtree(layers_dir() / name, ignore_errors=True)
