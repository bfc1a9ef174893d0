"""Read numbers from a model's metadata, whose types and ranges are not trusted."""

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
    layers: int  # with those of multi-token prediction, as in the file

    @classmethod
    def of(cls, header: GgufHeader) -> "Hyperparameters":
        """Find the architecture and the number of layers; raise GgufError if they are missing."""
        architecture = header.metadata.get("general.architecture")
        if not isinstance(architecture, str) or not architecture:
            raise GgufError(
                "the header has no architecture (general.architecture)",
                where=header.files[0],
                hint="check that this is the first file of a model",
            )
        kind = header.metadata.get("general.type", "model")
        if kind != "model" or architecture == "clip":
            what = printable(architecture if kind == "model" else str(kind))
            raise GgufError(
                f"is not a language model but a {what} file",
                where=header.files[0],
                hint="give the language model, not its projector or adapter",
            )
        layers = cls(header, architecture, 0).number("block_count", 0)
        if not 0 < layers <= _MOST_LAYERS:
            raise GgufError(
                f"the header has no valid number of layers ({printable(architecture)}.block_count)",
                where=header.files[0],
                hint="the file is damaged, or strixfleet does not know this kind of model",
            )
        return cls(header, architecture, layers)

    def number(self, key: str, default: int) -> int:
        """Return a whole number; for a per-layer array, the largest."""
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
        """Return an array of true and false; None if there is none for all layers."""
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
        """Return the model's name, safe to show on a terminal."""
        name = self.header.metadata.get("general.name")
        return printable(name if isinstance(name, str) and name.strip() else self.header.stem)


def _checked(value: object, default: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        return default
    return value
