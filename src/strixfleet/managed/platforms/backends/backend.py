"""What every backend states about itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.platforms.distributions import Distribution
from strixfleet.managed.things.package import Package


GIB = 1 << 30
Packages = Callable[[HostSettings, Distribution], tuple[Package, ...]]


def _none(settings: HostSettings, known: Distribution) -> tuple[Package, ...]:
    return ()


def _no_variables(pci_id: str, number: int) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """
    One backend of llama.cpp.

    `definitions` and `build_packages` are what compiling takes beside what every build takes,
    `target_definition` names the CMake definition that takes the GPU's target. `compilers` are recorded with
    a build, `job_bytes` is the memory that one job of a build takes, `build_min` how long a build takes on
    the 16 cores of a Strix Halo. `asked_environment` maps variables of a build to a command that prints the
    value and what to add to it. A build has the file `library`, or `symbol` in llama-server itself.

    `any_device` is what the first device is called: naming it makes a server fail where there is none,
    instead of falling back to the CPU. `reported_as` is what llama-bench calls it, `driver` what the name of
    an AMD GPU holds under the right driver.
    `choose_gpu` returns the variables that hide all GPUs but the one of a PCI id and of a place among ROCm's.
    `control_groups` are systemd's device classes that a server may open. `simulated_environment` stands in
    where a sandbox has a software driver.
    """

    name: str
    definitions: Mapping[str, str] = field(default_factory=dict)
    target_definition: str | None = None
    build_packages: tuple[str, ...] = ()
    compilers: tuple[str, ...] = ()
    job_bytes: int = GIB
    build_min: float
    needed_disk_bytes: int = 3 * GIB
    asked_environment: Mapping[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    library: str | None = None
    symbol: str = ""
    reported_as: tuple[str, ...]
    driver: str = ""
    any_device: str | None = None
    choose_gpu: Callable[[str, int], Mapping[str, str]] = _no_variables
    control_groups: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    simulated_environment: Mapping[str, str] | None = None
    writes_and_executes: bool = False
    writes_and_executes_simulated: bool = False
    packages: Packages = _none
    shader_features: frozenset[str] = frozenset()

    @property
    def graphics(self) -> bool:
        """Tell whether it computes on the GPU."""
        return self.any_device is not None

    def server_environment(self, *, simulated: bool) -> Mapping[str, str]:
        """Return the environment of its servers."""
        if simulated and self.simulated_environment is not None:
            return self.simulated_environment
        return self.environment

    def may_write_and_execute(self, *, simulated: bool) -> bool:
        """Tell whether memory may be writable and executable: ROCm and llvmpipe compile for the CPU."""
        return self.writes_and_executes_simulated if simulated else self.writes_and_executes
