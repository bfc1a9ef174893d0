# ruff: noqa: E501 - a line of shell stays in one line
"""What may be changed on a host by hand, one thing at a time, and which items an audit must name for it."""

from dataclasses import dataclass, replace

from strixfleet.sandbox.boxes import HARDWARE_ROOT


KEPT = "/root/kept"  # what was there before, as files
ETC, UNITS = "/etc/strixfleet", "/etc/systemd/system"
BUILDS, STATE, LIBRARY = "/opt/strixfleet/llama.cpp", "/var/lib/strixfleet", "/opt/strixfleet/lib"
BUILD = f"$(readlink -f {BUILDS}/current)"
MODELS = f"{STATE}/models"
MODEL = f"{MODELS}/tiny/tiny.gguf"
CHAT, TIMER = "llama-server@chat", "strixfleet-revert.timer"
TEMPLATE, DROP_INS = f"{UNITS}/llama-server@.service", f"{UNITS}/{CHAT}.service.d"
DROP_IN, KEY = f"{DROP_INS}/10-strixfleet.conf", f"{ETC}/keys/chat"
HOST_PROGRAM, MODULE = f"{LIBRARY}/strixfleet-host", f"{LIBRARY}/strixfleet/on_host/files.py"
RELOAD = "systemctl daemon-reload"
AGAIN = f"{RELOAD}; systemctl reset-failed {CHAT}; systemctl restart {CHAT}"
SERVER, OVERRIDES = "llama_server:chat", "llama_server:chat:overrides"
GRUB, SYS = "/etc/default/grub.d/zz-strixfleet.cfg", f"{HARDWARE_ROOT}/sys"
GOVERNOR = f"{SYS}/devices/system/cpu/cpu0/cpufreq/scaling_governor"
PREFERENCE = f"{SYS}/devices/system/cpu/cpu0/cpufreq/energy_performance_preference"
PLATFORM = f"{SYS}/firmware/acpi/platform_profile"


@dataclass(frozen=True)
class Mutation:
    """One change by hand; `heals` where `provision` undoes it alone, else a person must."""

    name: str
    plant: str
    undo: str
    ids: frozenset[str]
    heals: bool = True


def mutation(name: str, plant: str, undo: str, *ids: str, heals: bool = True) -> Mutation:
    return Mutation(name, plant, undo, frozenset(ids), heals)


def manual(name: str, plant: str, undo: str, *ids: str) -> Mutation:
    return mutation(name, plant, undo, *ids, heals=False)


def restored(path: str) -> str:
    """Put back what was kept of a path, which need not have been there."""
    return f"rm -rf {path}; test ! -e {KEPT}{path} || cp -a {KEPT}{path} {path}"


def of_file(path: str, aspect: str, *more: str, then: str = "true") -> tuple[Mutation, ...]:
    """Change a file of ours in each way in which a file can be changed."""
    ways = {
        "a line added": f"echo '# by hand' >>{path}",
        "gone": f"rm {path}",
        "another mode": f"chmod 0666 {path}",
        "another owner": f"chown nobody {path}",
        "a link in its place": f"mv {path} /root/moved; ln -s /root/moved {path}",
    }
    undo = f"{restored(path)}; rm -f /root/moved; {then}"
    return tuple(
        mutation(f"{path}: {way}", plant, undo, f"{aspect}:{path}", *more) for way, plant in ways.items()
    )


def of_folder(path: str, aspect: str) -> tuple[Mutation, ...]:
    """Let others write into a folder of ours."""
    name = f"{aspect}:{path}"
    return (
        mutation(f"{path}: all may write", f"chmod 0777 {path}", f"chmod 0755 {path}", name),
        mutation(f"{path}: another owner", f"chown nobody {path}", f"chown root {path}", name),
    )


# fmt: off
GPU_STACK = (
    mutation("out of render", "gpasswd -d strixfleet render", "gpasswd -a strixfleet render", "gpu_stack:account"),
    mutation("another shell", "usermod -s /bin/sh strixfleet", "usermod -s /usr/sbin/nologin strixfleet", "gpu_stack:account"),
    mutation("another home", "usermod -d /tmp strixfleet", f"usermod -d {STATE} strixfleet", "gpu_stack:account"),
    manual("may become root", "gpasswd -a strixfleet sudo", "gpasswd -d strixfleet sudo", "gpu_stack:account"),
    manual("reads disks", "gpasswd -a strixfleet disk", "gpasswd -d strixfleet disk", "gpu_stack:account"),
    manual(
        "is root",
        f"cp -p /etc/passwd {KEPT}; sed -i 's/^strixfleet:x:[0-9]*:/strixfleet:x:0:/' /etc/passwd",
        f"cp -p {KEPT}/passwd /etc/passwd",
        "gpu_stack:account",
    ),
)
TUNING = (
    mutation("another profile", "tuned-adm profile balanced", "tuned-adm profile accelerator-performance", "tuning:profile", "tuning:governor", "tuning:energy_performance_preference", "tuning:platform_profile"),
    mutation("tuned stopped", "systemctl stop tuned", "systemctl start tuned", "tuning:tuned.service"),
    mutation("tuned does not start at boot", "systemctl disable -q tuned", "systemctl enable -q tuned", "tuning:tuned.service"),
    mutation("tuned masked", "systemctl mask -q tuned", "systemctl unmask -q tuned", "tuning:tuned.service"),
    mutation("governor", f"echo powersave >{GOVERNOR}", f"echo performance >{GOVERNOR}", "tuning:governor"),
    mutation("energy preference", f"echo power >{PREFERENCE}", f"echo performance >{PREFERENCE}", "tuning:energy_performance_preference"),
    mutation("platform profile", f"echo low-power >{PLATFORM}", f"echo performance >{PLATFORM}", "tuning:platform_profile"),
    mutation(
        "a rival daemon",
        f"printf '[Service]\\nExecStart=/bin/sleep infinity\\n' >{UNITS}/tlp.service; {RELOAD}; systemctl start tlp",
        f"systemctl stop tlp; rm {UNITS}/tlp.service; {RELOAD}; systemctl start tuned",
        "tuning:rivals",
        "tuning:tuned.service",  # it conflicts with those
    ),
)
KERNEL = tuple(
    mutation(f"{GRUB}: {way}", plant, f"{restored(GRUB)}; sleep 0.01; touch /boot/grub/grub.cfg", *ids)
    for way, plant, ids in (
        ("a line added", f"echo '# by hand' >>{GRUB}", (f"kernel:{GRUB}",)),
        ("another mode", f"chmod 0666 {GRUB}", (f"kernel:{GRUB}",)),
    )
)
UNIT_FILES = tuple(
    mutation(f"{path}: {way}", plant.format(path), f"{restored(path)}; {RELOAD}", f"llama_cpp:{path}", *more)
    for path in (f"{UNITS}/{TIMER}", f"{UNITS}/strixfleet-revert.service", f"{UNITS}/strixfleet-revert-boot.service")
    for way, plant, more in (
        ("a line added", "echo '# by hand' >>{0}; " + RELOAD, ()),
        ("all may write", "chmod 0666 {0}", ()),
    )
)
BOOT_LINK = f"{UNITS}/multi-user.target.wants/strixfleet-revert-boot.service"
PREFIXED = f"{UNITS}/strixfleet-.timer.d"
LLAMA_CPP = (
    *of_file(HOST_PROGRAM, "llama_cpp"),
    *of_file(MODULE, "llama_cpp"),
    *of_folder(BUILDS, "llama_cpp"),
    *of_folder("/var/cache/strixfleet", "llama_cpp"),
    *UNIT_FILES,
    mutation("a timer masked by a link", f"ln -sf /dev/null {UNITS}/{TIMER}; {RELOAD}", f"{restored(f'{UNITS}/{TIMER}')}; {RELOAD}", f"llama_cpp:{UNITS}/{TIMER}", f"llama_cpp:{TIMER}"),
    mutation("the timer stopped", f"systemctl stop {TIMER}", f"systemctl start {TIMER}", f"llama_cpp:{TIMER}"),
    mutation("the timer does not start at boot", f"systemctl disable -q {TIMER}", f"systemctl enable -q {TIMER}", f"llama_cpp:{TIMER}"),
    mutation("nothing looks at boot", f"rm {BOOT_LINK}", restored(BOOT_LINK), f"llama_cpp:{BOOT_LINK}"),
    mutation("a link elsewhere at boot", f"ln -sf /dev/null {BOOT_LINK}", restored(BOOT_LINK), f"llama_cpp:{BOOT_LINK}"),
    manual("a drop-in of the timer", f"mkdir {UNITS}/{TIMER}.d; printf '[Timer]\\nOnCalendar=\\nOnCalendar=yearly\\n' >{UNITS}/{TIMER}.d/x.conf; {RELOAD}", f"rm -r {UNITS}/{TIMER}.d; {RELOAD}", "llama_cpp:overrides"),
    manual("a drop-in of the service", f"mkdir {UNITS}/strixfleet-revert.service.d; printf '[Service]\\nExecStart=\\nExecStart=/bin/true\\n' >{UNITS}/strixfleet-revert.service.d/x.conf; {RELOAD}", f"rm -r {UNITS}/strixfleet-revert.service.d; {RELOAD}", "llama_cpp:overrides"),
    manual("a drop-in of a prefix of the timer", f"mkdir {PREFIXED}; printf '[Unit]\\nDescription=x\\n' >{PREFIXED}/x.conf; {RELOAD}", f"rm -r {PREFIXED}; {RELOAD}", "llama_cpp:overrides"),
    mutation("a unit that systemd has not read", f"touch -d '+1 minute' {UNITS}/strixfleet-revert.service", f"{restored(f'{UNITS}/strixfleet-revert.service')}; {RELOAD}", "llama_cpp:overrides"),
    mutation("a module in place of Python's", f"echo pass >{LIBRARY}/json.py", f"rm {LIBRARY}/json.py", "llama_cpp:foreign_modules"),
    mutation("a foreign module beside ours", f"echo pass >{LIBRARY}/strixfleet/on_host/more.py", f"rm {LIBRARY}/strixfleet/on_host/more.py", "llama_cpp:foreign_modules"),
    mutation("compiled code of another", f"mkdir {LIBRARY}/__pycache__; echo x >{LIBRARY}/__pycache__/json.pyc", f"rm -r {LIBRARY}/__pycache__", "llama_cpp:foreign_modules"),
    mutation("modules of a former version", f"mkdir {LIBRARY}/strixfleet/host; echo pass >{LIBRARY}/strixfleet/host/a.py", f"rm -r {LIBRARY}/strixfleet/host", f"llama_cpp:{LIBRARY}/strixfleet/host"),
    mutation("all may write to /opt/strixfleet", "chmod o+w /opt/strixfleet", "chmod o-w /opt/strixfleet", "llama_cpp:writable"),
    mutation("all may add modules", f"chmod o+w {LIBRARY}/strixfleet/on_host/switch", f"chmod o-w {LIBRARY}/strixfleet/on_host/switch", "llama_cpp:writable"),
    mutation("another owner of the modules", f"chown nobody {LIBRARY}", f"chown root {LIBRARY}", "llama_cpp:writable"),
    manual("all may write to /opt", "chmod o+w /opt", "chmod o-w /opt", "llama_cpp:writable"),
    manual("all may write units", f"chmod o+w {UNITS}", f"chmod o-w {UNITS}", "llama_cpp:writable"),
    manual("another owner of /var/lib", "chown nobody /var/lib", "chown root /var/lib", "llama_cpp:writable"),
    manual("all may write into the build", f"chmod o+w {BUILD}/bin", f"chmod o-w {BUILD}/bin", "llama_cpp:writable"),
    manual("a program that makes root", f"chmod u+s {BUILD}/bin/llama-bench", f"chmod u-s {BUILD}/bin/llama-bench", "llama_cpp:writable"),
    mutation("a byte in a binary", f"printf X | dd of={BUILD}/bin/llama-bench bs=1 seek=64 conv=notrunc status=none", restored(f"{BUILD}/bin/llama-bench"), "llama_cpp:files"),
    mutation("a binary is gone", f"mv {BUILD}/bin/llama-bench /root/", f"mv /root/llama-bench {BUILD}/bin/", "llama_cpp:files"),
    mutation("a library added", f"echo x >{BUILD}/lib/libfoo.so", f"rm {BUILD}/lib/libfoo.so", "llama_cpp:files"),
    manual("the server's program is another's", f"chown nobody {BUILD}/bin/llama-server", f"chown root {BUILD}/bin/llama-server", "llama_cpp:owner"),
    manual("all may write the server's program", f"chmod 0777 {BUILD}/bin/llama-server", f"chmod 0755 {BUILD}/bin/llama-server", "llama_cpp:owner"),
    mutation("the manifest is damaged", f"cp -p {BUILD}/manifest.json {KEPT}; truncate -s 40 {BUILD}/manifest.json", f"cp -p {KEPT}/manifest.json {BUILD}/", "llama_cpp:files"),
    mutation("a build that was broken off", f"mkdir {BUILDS}/.build-x", f"rmdir {BUILDS}/.build-x", "llama_cpp:leftovers"),
    manual("a previous build that is not there", f"ln -s {BUILDS}/gone {BUILDS}/previous", f"rm {BUILDS}/previous", "llama_cpp:previous"),
    manual("foreign options", f"echo LLAMA_ARG_X=1 >{BUILD}/options", f"rm {BUILD}/options", "llama_cpp:options"),
    manual("a measurement is damaged", f"echo '{{' >{STATE}/bandwidth.json", restored(f"{STATE}/bandwidth.json"), "llama_cpp:records"),
    manual("a lock is damaged", f"echo '{{\"owner\": \"x\", \"seal\": \"no\"}}' >{STATE}/lock.json", restored(f"{STATE}/lock.json"), "llama_cpp:records"),
    mutation("what was applied is damaged", f"truncate -s 20 {ETC}/applied.json", restored(f"{ETC}/applied.json"), "llama_cpp:records"),
)
LLAMA_MODELS = (
    *of_folder(MODELS, "llama_models"),
    *of_folder(f"{MODELS}/tiny", "llama_models"),
    mutation("another mode", f"chmod 0600 {MODEL}", f"chmod 0644 {MODEL}", f"llama_models:{MODEL}"),
    mutation("another owner", f"chown nobody {MODEL}", f"chown root {MODEL}", f"llama_models:{MODEL}"),
    mutation("its digest is not known", f"mv {MODELS}/tiny/.tiny.gguf.json /root", f"mv /root/.tiny.gguf.json {MODELS}/tiny", f"llama_models:{MODEL}"),
    mutation("the stamp is damaged", f"truncate -s 20 {MODELS}/tiny/.tiny.gguf.json", restored(f"{MODELS}/tiny/.tiny.gguf.json"), f"llama_models:{MODEL}"),
    mutation("the model is gone", f"mv {MODEL} /root", f"mv /root/tiny.gguf {MODEL}", f"llama_models:{MODEL}"),
)
SERVICE_D, LLAMA_D = f"{UNITS}/service.d", f"{UNITS}/llama-.service.d"
LLAMA_SERVER = (
    *of_file(DROP_IN, "llama_server", SERVER, then=AGAIN),
    *of_file(TEMPLATE, "llama_server", SERVER, then=AGAIN),
    *of_file(KEY, "llama_server"),
    *of_folder(ETC, "llama_server"),
    mutation("keys can be listed", f"chmod 0755 {ETC}/keys", f"chmod 0700 {ETC}/keys", f"llama_server:{ETC}/keys"),
    mutation("the key can be read", f"chmod 0644 {KEY}", f"chmod 0600 {KEY}", f"llama_server:{KEY}"),
    mutation("a key of nobody's", f"echo k >{ETC}/keys/old", f"rm {ETC}/keys/old", "llama_server:stale"),
    mutation("stopped", f"systemctl stop {CHAT}", f"systemctl start {CHAT}", SERVER),
    mutation("does not start at boot", f"systemctl disable -q {CHAT}", f"systemctl enable -q {CHAT}", SERVER),
    mutation("masked", f"systemctl mask -q {CHAT}", f"systemctl unmask -q {CHAT}", SERVER),
    manual("a drop-in of its own", f"printf '[Service]\\nNice=5\\n' >{DROP_INS}/x.conf; {AGAIN}", f"rm {DROP_INS}/x.conf; {AGAIN}", OVERRIDES),
    *(
        manual(f"a drop-in in {folder}", f"mkdir -p {folder}; printf '[Service]\\nNoNewPrivileges=no\\n' >{folder}/x.conf; {AGAIN}", f"rm -r {folder}; {AGAIN}", OVERRIDES, *more)
        for folder, more in (
            (f"{UNITS}/llama-server@.service.d", ()),
            (LLAMA_D, ()),
            (f"/run/systemd/system/{CHAT}.service.d", ()),
            (SERVICE_D, ("llama_cpp:overrides",)),
        )
    ),
    manual("a property set by systemctl", f"systemctl set-property --runtime {CHAT} CPUQuota=50%", f"systemctl revert -q {CHAT} 2>/dev/null; rm -rf /run/systemd/system.control/{CHAT}.service.d; {restored(DROP_INS)}; {AGAIN}", OVERRIDES),
    mutation(
        "runs what a restored drop-in said",
        f"cp -p {DROP_IN} {KEPT}/d; sed -i 's/\"8080\"/\"8080\" \"--metrics\"/' {DROP_IN}; {AGAIN}; sleep 0.2; cp -p {KEPT}/d {DROP_IN}; {RELOAD}",
        AGAIN,
        SERVER,
    ),
    mutation(
        "runs what a drop-in said that is gone",
        f"printf '[Service]\\nUser=root\\n' >{DROP_INS}/x.conf; {AGAIN}; sleep 0.2; rm {DROP_INS}/x.conf; {RELOAD}",
        AGAIN,
        SERVER,
    ),
    mutation(
        "runs a program that was deleted",
        f"cp -p {BUILD}/bin/llama-server {BUILD}/bin/new; mv {BUILD}/bin/new {BUILD}/bin/llama-server",
        AGAIN,
        SERVER,
    ),
    manual(
        "a process by hand on its port",
        f"systemctl stop {CHAT}; systemd-run -q --unit=by-hand {BUILD}/bin/llama-server --model {MODEL} --port 8080",
        f"systemctl stop by-hand; systemctl start {CHAT}",
        SERVER,
    ),
    *(
        manual(
            f"another server, {name} at {host}",
            f"cp {BUILD}/bin/llama-server /root/{name}; systemd-run -q --unit=by-hand /root/{name} --model {MODEL} --host {host} --port 9999",
            f"systemctl stop by-hand; rm /root/{name}",
            "llama_server:listeners",
        )
        for name, host in (("llama-server", "0.0.0.0"), ("sshd", "0.0.0.0"), ("python3", "127.0.0.1"))
    ),
    manual("it crashed", f"systemctl kill -s SEGV {CHAT}; sleep 6", f"{AGAIN}", "llama_server:chat:crashes"),
    manual("a library before all others", "echo /root/x.so >/etc/ld.so.preload", "rm /etc/ld.so.preload", "llama_server:/etc/ld.so.preload"),
    mutation("another instance of ours", f"mkdir {UNITS}/llama-server@old.service.d; cp -p {KEPT}{DROP_IN} {UNITS}/llama-server@old.service.d/", f"rm -r {UNITS}/llama-server@old.service.d", "llama_server:stale"),
)
# fmt: on
MUTATIONS = tuple(
    replace(one, name=f"{aspect}: {one.name}")
    for aspect, rows in {
        "gpu_stack": GPU_STACK,
        "tuning": TUNING,
        "kernel": KERNEL,
        "llama_cpp": LLAMA_CPP,
        "llama_models": LLAMA_MODELS,
        "llama_server": LLAMA_SERVER,
    }.items()
    for one in rows
)
