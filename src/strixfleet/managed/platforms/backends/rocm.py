"""ROCm through HIP."""

from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.platforms.backends.backend import GIB, Backend
from strixfleet.managed.platforms.backends.firmware import firmware
from strixfleet.managed.platforms.backends.vulkan import NO_FIT
from strixfleet.managed.platforms.distributions import Distribution
from strixfleet.managed.things.package import Package


def _packages(settings: HostSettings, known: Distribution) -> tuple[Package, ...]:
    rocm = (Package(id=f"gpu_stack:{name}", name=name) for name in known.rocm.packages)
    return (firmware(settings, known), *rocm)


ROCM = Backend(
    name="rocm",
    definitions={"GGML_HIP": "ON"},
    target_definition="GPU_TARGETS",
    build_packages=("hipcc", "libamdhip64-dev", "libhipblas-dev", "librocblas-dev"),
    compilers=("hipcc",),
    job_bytes=2 * GIB,
    build_min=30.0,
    needed_disk_bytes=12 * GIB,
    asked_environment={"HIPCXX": (("hipconfig", "-l"), "/clang"), "HIP_PATH": (("hipconfig", "-R"), "")},
    library="libggml-hip.so",
    symbol="ggml_backend_cuda_reg",
    reported_as=("ROCm", "HIP"),
    any_device="ROCm0",
    choose_gpu=lambda _pci_id, number: {"ROCR_VISIBLE_DEVICES": str(number)},
    control_groups=("char-drm", "char-kfd"),
    environment={
        **NO_FIT,
        "LLAMA_ARG_LOAD_MODE": "none",  # what releases since 2026 call `--no-mmap`
        "LLAMA_ARG_NO_MMAP": "1",
    },
    writes_and_executes=True,
    writes_and_executes_simulated=True,
    packages=_packages,
)
