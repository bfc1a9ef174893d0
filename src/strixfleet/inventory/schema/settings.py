"""
The inventory variables of a host; the reference page and the checks derive from this model.

A field has the name of its variable. Variables of one subject share a prefix.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from strixfleet.inventory.schema.addresses import AbsolutePath, ControllerPath, Repository, SecureAddress
from strixfleet.inventory.schema.field_types import (
    Batch,
    DeviceTag,
    Fingerprint,
    HostLabel,
    Integer,
    Pin,
    PlainName,
    Secret,
    Text,
    Version,
    as_list,
    gtt_gib,
)
from strixfleet.inventory.schema.maps import CmakeArguments, KernelArguments
from strixfleet.inventory.schema.parts import Instances, Models, Part, SmokeBench, Waivers


LLAMA_CPP_REPOSITORY = "https://github.com/ggml-org/llama.cpp.git"
TAILSCALE_FINGERPRINT = "2596A99EAAB33821893C0A79458CA832957F5868"  # the vendor's repository key
ProfileName = Literal[
    "auto", "strix-halo-128", "strix-halo-96", "strix-halo-64", "strix-halo-32", "strix-point", "sandbox"
]
Versions = Annotated[tuple[Version, ...], BeforeValidator(as_list)]
GttGib = Annotated[int | Literal["auto"], BeforeValidator(gtt_gib)]
Tags = Annotated[tuple[DeviceTag, ...], BeforeValidator(as_list)]


class HostSettings(Part):
    """All settings that the inventory may have for one host."""

    hardware_profile: ProfileName = Field(
        default="auto", description="Profile of the box, or `auto`: recognised from DMI and PCI ids."
    )
    kernel_gtt_gib: GttGib = Field(
        default="auto",
        description="GPU-addressable memory in GiB; ttm.pages_limit and amdgpu.gttsize derive from it. "
        "`auto` is the memory that the system sees less the profile's reserve.",
    )
    kernel_gtt_parameters: Literal["auto", "both", "ttm", "gttsize"] = Field(
        default="auto",
        description="Which of the two parameters are written; `auto` goes by the kernel's version. The other "
        "one is taken away.",
    )
    kernel_arguments: KernelArguments = Field(
        default_factory=dict,
        description="Further kernel arguments: `name: value`; `name: null` is a bare flag; `absent` removes.",
    )
    llama_cpp_repository: Repository = Field(
        default=LLAMA_CPP_REPOSITORY,
        description="Git URL of llama.cpp, or a mirror's path on the controller.",
    )
    llama_cpp_allow_http: bool = Field(
        default=False, description="Accept an http address of llama.cpp: who is in between may move its tags."
    )
    llama_cpp_ref: Pin | None = Field(
        default=None, description="The pin: a tag (b10991, v0.1.1) or a 40-digit commit. Needed to provision."
    )
    llama_cpp_backend: Literal["vulkan", "rocm", "cpu"] = Field(
        default="vulkan", description="Backend that is built."
    )
    llama_cpp_cmake_arguments: CmakeArguments = Field(
        default_factory=dict, description="Extra CMake definitions, names without -D."
    )
    llama_cpp_build_host: Text | None = Field(
        default=None,
        description="Host that builds for those that are like it; the idlest of them when left out.",
    )
    llama_models: Models = Field(default=(), description="The catalogue of models on this host.")
    llama_models_allow_http: bool = Field(
        default=False, description="Accept http addresses of models (digest still checked)."
    )
    llama_models_token: Secret | None = Field(
        default=None,
        description="Token for gated downloads (vault); the controller's HF_TOKEN when left out.",
    )
    llama_server_instances: Instances = Field(
        default=(), description="The servers of this host, one unit each."
    )
    tailscale_enabled: bool = Field(default=False, description="Install Tailscale and join the tailnet.")
    tailscale_auth_key: Secret | None = Field(default=None, description="Key to join with; keep it in vault.")
    tailscale_login_server: SecureAddress | None = Field(
        default=None, description="Control server such as headscale; Tailscale's own when left out."
    )
    tailscale_tags: Tags = Field(default=(), description="ACL tags of the host, such as tag:llm.")
    tailscale_hostname: HostLabel | None = Field(
        default=None, description="Name in the tailnet; the host's when left out."
    )
    tailscale_repository: SecureAddress | None = Field(
        default=None,
        description="apt repository that has tailscale; the vendor's for the distribution when left out.",
    )
    tailscale_repository_key: ControllerPath | None = Field(
        default=None,
        description="File on the controller with the repository's OpenPGP key, such as the vendor's "
        "CODENAME.noarmor.gpg. Left out: tailscale is installed already, or the host's own sources have it.",
    )
    tailscale_repository_fingerprint: Fingerprint = Field(
        default=TAILSCALE_FINGERPRINT,
        description="Fingerprint that the key must have, 40 hexadecimal digits.",
    )
    gpu_stack_kernel_from: Literal["auto", "distribution", "backports", "hwe", "oem"] = Field(
        default="auto",
        description="Where a kernel comes from that is too old: Debian has backports, Ubuntu hwe and oem. "
        "`auto` leaves a vendor's kernel (Proxmox, liquorix) as it is.",
    )
    gpu_stack_kernel_floor: Version | None = Field(
        default=None,
        description="Oldest kernel accepted; the shipped floor of the distribution when left out.",
    )
    gpu_stack_kernel_known_bad: Versions | None = Field(
        default=None, description="Kernel versions never accepted; the shipped list when left out."
    )
    gpu_stack_firmware_from: Literal["auto", "distribution", "backports"] = Field(
        default="auto", description="Where the GPU's firmware comes from."
    )
    gpu_stack_firmware_floor: Version | None = Field(
        default=None,
        description="Oldest linux-firmware accepted, such as 20260110; the shipped floor when left out.",
    )
    gpu_stack_firmware_known_bad: Versions | None = Field(
        default=None, description="linux-firmware versions never accepted; the shipped list when left out."
    )
    gpu_stack_mesa_from: Literal["auto", "distribution", "backports"] = Field(
        default="auto", description="Where Mesa comes from."
    )
    gpu_stack_mesa_floor: Version | None = Field(
        default=None, description="Oldest Mesa accepted; the shipped floor when left out."
    )
    gpu_stack_hold_packages: bool = Field(
        default=True, description="Hold kernel, firmware and Mesa against unattended upgrades."
    )
    tuning_enabled: bool = Field(default=True, description="Manage the tuned profile.")
    tuning_profile: PlainName = Field(default="accelerator-performance", description="The tuned profile.")
    smoke_bench: SmokeBench = Field(
        default_factory=SmokeBench, description="The benchmark that ends a provision and gates an upgrade."
    )
    rollout_canary: Text | None = Field(
        default=None, description="Host that `upgrade` takes first; the first of the selection when left out."
    )
    rollout_batch: Batch = Field(
        default=1, description='Hosts per wave after the canary: a number or a share such as "25%".'
    )
    rollout_max_failures: Annotated[Integer, Field(ge=0, le=1000)] = Field(
        default=0, description="Hosts that may fail before `upgrade` stops."
    )
    rollout_revert_after_s: Annotated[Integer, Field(ge=30, le=3600)] = Field(
        default=60,
        description="Seconds without renewal after which a host returns to its previous build by itself.",
    )
    audit_waivers: Waivers = Field(default=(), description="Known differences, each with an end date.")
    sandbox_hardware_root: AbsolutePath | None = Field(
        default=None,
        description="Folder with a simulated hardware tree; set by `sandbox create`, never for a real box.",
    )


FIELDS = tuple(HostSettings.model_fields)
