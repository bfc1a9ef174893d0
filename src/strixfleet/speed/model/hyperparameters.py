"""The numbers of a model's metadata, asked for without trust in their types or ranges."""

from dataclasses import dataclass

from strixfleet.errors import GgufError
from strixfleet.printable import printable
from strixfleet.speed.model.model_file import ArrayLeftOut, GgufHeader


_MOST = 2**40  # no hyperparameter of any model is larger
_MOST_LAYERS = 16_384


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Typed access to `<architecture>.<key>`."""

    header: GgufHeader
    architecture: str
    layers: int  # with those of multi-token prediction, as the file counts

    @classmethod
    def of(cls, header: GgufHeader) -> "Hyperparameters":
        """Find architecture and layer count, without which nothing can be said."""
        architecture = header.metadata.get("general.architecture")
        if not isinstance(architecture, str) or not architecture:
            raise GgufError(
                "the header names no architecture (general.architecture)",
                where=header.files[0],
                hint="is it a model at all, and its first file?",
            )
        kind = header.metadata.get("general.type", "model")
        if kind != "model" or architecture == "clip":
            what = printable(architecture if kind == "model" else str(kind))
            raise GgufError(
                f"is no language model but a {what} file",
                where=header.files[0],
                hint="name the language model itself, not its projector or adapter",
            )
        layers = cls(header, architecture, 0).number("block_count", 0)
        if not 0 < layers <= _MOST_LAYERS:
            raise GgufError(
                f"the header gives no sensible layer count ({printable(architecture)}.block_count)",
                where=header.files[0],
                hint="the file is damaged, or of a kind that strixfleet does not know",
            )
        return cls(header, architecture, layers)

    def number(self, key: str, default: int) -> int:
        """Return one whole number; of a per-layer array its largest."""
        value = self.header.metadata.get(f"{self.architecture}.{key}")
        if isinstance(value, tuple):
            return max((_checked(item, 0) for item in value), default=default)
        return _checked(value, default)

    def per_layer(self, key: str, default: int) -> tuple[int, ...]:
        """Return one number for each layer, from a scalar or an array."""
        value = self.header.metadata.get(f"{self.architecture}.{key}")
        if isinstance(value, tuple) and value:
            numbers = [_checked(item, default) for item in value]
            return tuple((numbers + [numbers[-1]] * self.layers)[: self.layers])
        return (self.number(key, default),) * self.layers

    def flags(self, key: str) -> tuple[bool, ...] | None:
        """Return an array of true and false, when there is one of full length."""
        value = self.header.metadata.get(f"{self.architecture}.{key}")
        if isinstance(value, tuple) and len(value) >= self.layers:
            return tuple(bool(item) for item in value[: self.layers])
        return None

    def vocabulary(self, default: int) -> int:
        """Count the tokens."""
        tokens = self.header.metadata.get("tokenizer.ggml.tokens")
        found = tokens.count if isinstance(tokens, ArrayLeftOut) else 0
        return self.number("vocab_size", 0) or found or default

    def name(self) -> str:
        """Name the model, fit to be shown on a terminal."""
        name = self.header.metadata.get("general.name")
        return printable(name if isinstance(name, str) and name.strip() else self.header.stem)


def _checked(value: object, default: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        return default
    return value
