"""Vulkan through Mesa's RADV."""

from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.platforms.backends.backend import GIB, Backend
from strixfleet.managed.platforms.backends.firmware import firmware
from strixfleet.managed.platforms.distributions import Distribution, apt_release, source_of
from strixfleet.managed.things.package import Package


ICD = "/usr/share/vulkan/icd.d"
NO_FIT = {"LLAMA_ARG_FIT": "off"}  # fitting misjudges unified memory: llama.cpp #18150


def _packages(settings: HostSettings, known: Distribution) -> tuple[Package, ...]:
    release = apt_release(known, source_of(settings.gpu_stack_mesa_from, known.mesa.auto))
    floor = settings.gpu_stack_mesa_floor or known.mesa.floor
    first, *others = known.mesa.packages
    return (
        firmware(settings, known),
        Package(id=f"gpu_stack:{first}", name=first, floor=floor, release=release),
        *(Package(id=f"gpu_stack:{name}", name=name, release=release) for name in others),
    )


VULKAN = Backend(
    name="vulkan",
    definitions={"GGML_VULKAN": "ON"},
    build_packages=("glslc", "libvulkan-dev", "spirv-headers"),
    compilers=("glslc",),
    build_min=15.0,
    needed_disk_bytes=4 * GIB,
    library="libggml-vulkan.so",
    symbol="ggml_backend_vk_reg",
    reported_as=("Vulkan",),
    driver="RADV",
    any_device="Vulkan0",
    choose_gpu=lambda pci_id, _number: {"MESA_VK_DEVICE_SELECT": f"{pci_id}!"},  # docs.mesa3d.org/envvars
    control_groups=("char-drm",),
    environment={
        "AMD_VULKAN_ICD": "RADV",
        "VK_DRIVER_FILES": f"{ICD}/radeon_icd.x86_64.json:{ICD}/radeon_icd.json",
        **NO_FIT,
    },
    simulated_environment={  # Mesa's llvmpipe, which llama.cpp takes only where it is named
        "VK_DRIVER_FILES": f"{ICD}/lvp_icd.x86_64.json:{ICD}/lvp_icd.json",
        "GGML_VK_VISIBLE_DEVICES": "0",
        **NO_FIT,
    },
    writes_and_executes_simulated=True,
    packages=_packages,
    shader_features=frozenset({"GL_KHR_cooperative_matrix"}),
)
