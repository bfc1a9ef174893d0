"""The options of a running llama-server, so that the benchmark runs with the same settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from strixfleet.inventory.schema.parts import Instance


# llama-bench's option: the server's options and variables of the same meaning
_SHARED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "-t": ("--threads", "-t", "LLAMA_ARG_THREADS"),
        "-ngl": ("--gpu-layers", "--n-gpu-layers", "-ngl", "LLAMA_ARG_N_GPU_LAYERS"),
        "-fa": ("--flash-attn", "-fa", "LLAMA_ARG_FLASH_ATTN"),
        "-b": ("--batch-size", "-b", "LLAMA_ARG_BATCH"),
        "-ub": ("--ubatch-size", "-ub", "LLAMA_ARG_UBATCH"),
        "-ctk": ("--cache-type-k", "-ctk", "LLAMA_ARG_CACHE_TYPE_K"),
        "-ctv": ("--cache-type-v", "-ctv", "LLAMA_ARG_CACHE_TYPE_V"),
        "-dev": ("--device", "-dev", "LLAMA_ARG_DEVICE"),
        "-ncmoe": ("--n-cpu-moe", "-ncmoe", "LLAMA_ARG_N_CPU_MOE"),
        "-lm": ("--load-mode", "-lm", "LLAMA_ARG_LOAD_MODE"),
    }
)
_DEFAULTS = frozenset({("-ngl", "auto"), ("-fa", "auto"), ("-t", "-1"), ("-lm", "auto")})
_OF_DEVICES = frozenset({"-dev", "-ngl", "-ncmoe"})
_ALL_LAYERS = "999"
_BATCH_TOKENS, _MICRO_BATCH_TOKENS = 2048, 512  # llama-server's defaults
_ANY_CONTEXT_TOKENS = 1 << 20  # if the size is not known; the server refuses prompts that do not fit


@dataclass(frozen=True, slots=True)
class ServerFlags:
    """Options and environment variables of one server; options take precedence."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]

    @classmethod
    def of_instance(cls, instance: Instance) -> "ServerFlags":
        """Return the options of the inventory, for a server that does not run."""
        words: list[str] = []
        for name, value in instance.arguments.items():
            words += [f"--{name}"] if value is None else [f"--{name}", value]
        return cls(tuple(words), instance.environment)

    def value(self, *names: str) -> str | None:
        """Return the value of the first of these options or variables that is set."""
        for name in names:
            if name in self.argv[:-1]:
                return self.argv[len(self.argv) - 1 - self.argv[::-1].index(name) + 1]
            if name in self.environment:
                return self.environment[name]
        return None

    def _number(self, names: tuple[str, ...], default: int) -> int:
        value = self.value(*names)
        return int(value) if value and value.isdigit() and int(value) > 0 else default

    @property
    def micro_batch_tokens(self) -> int:
        """Return how many tokens of a prompt are computed at once; at most a batch."""
        micro = self._number(_SHARED["-ub"], _MICRO_BATCH_TOKENS)
        return min(micro, self._number(_SHARED["-b"], _BATCH_TOKENS))

    @property
    def slot_tokens(self) -> int:
        """Return how many tokens a request may have, as far as the options tell."""
        context = self._number(("--ctx-size", "-c", "LLAMA_ARG_CTX_SIZE"), _ANY_CONTEXT_TOKENS)
        return context // self._number(("--parallel", "-np", "LLAMA_ARG_N_PARALLEL"), 1)

    def bench_options(self, *, on_cpu: bool = False) -> list[str]:
        """
        Return the server's options in the spelling of llama-bench; automatic values are left out.

        With `on_cpu`, the only `-dev` is none, because llama-bench runs once for each `-dev`.
        """
        words: list[str] = ["-dev", "none"] if on_cpu else []
        for option, names in _SHARED.items():
            if on_cpu and option in _OF_DEVICES:
                continue
            value = self.value(*names)
            if value is None or (option, value) in _DEFAULTS:
                continue
            if option == "-ngl" and value == "all":
                value = _ALL_LAYERS
            words += [option, value.replace(",", "/") if option == "-dev" else value]
        return words
