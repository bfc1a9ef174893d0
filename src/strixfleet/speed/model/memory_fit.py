"""Whether a model fits: weights, cache and buffers, compared with the GPU-addressable memory."""

from dataclasses import dataclass

from strixfleet.speed.model.model_shape import ModelShape


GIB = 1024**3
_MICRO_BATCH = 512
_FIXED_BYTES = 256 * 1024**2  # command buffers, pinned staging, page tables: 150 to 300 MiB were observed
_FLOAT_BYTES = 4
_WIDE_ACTIVATIONS = 16  # live tensors of model width in a graph, feed-forward ones included


@dataclass(frozen=True, slots=True)
class MemoryFit:
    """The memory that a model needs and the memory that is available."""

    weights_bytes: int
    kv_bytes: int
    overhead_bytes: int
    available_bytes: int
    system_bytes: int  # what GPU and CPU can use together
    layers: int

    @property
    def needed_bytes(self) -> int:
        """Return the sum."""
        return self.weights_bytes + self.kv_bytes + self.overhead_bytes

    @property
    def fits(self) -> bool:
        """Tell whether everything fits in the memory of the backend."""
        return self.needed_bytes <= self.available_bytes

    @property
    def fits_in_part(self) -> bool:
        """Tell whether it fits if some layers run on the CPU."""
        return not self.fits and self.needed_bytes <= self.system_bytes

    @property
    def layers_on_gpu(self) -> int:
        """Count the layers that fit (llama-server's --gpu-layers)."""
        if self.fits:
            return self.layers
        per_layer = (self.weights_bytes + self.kv_bytes) / max(1, self.layers)
        return max(0, int((self.available_bytes - self.overhead_bytes) / per_layer))

    def in_words(self) -> str:
        """Write the calculation out."""
        terms = (
            self.weights_bytes,
            self.kv_bytes,
            self.overhead_bytes,
            self.needed_bytes,
            self.available_bytes,
        )
        weights, kv, overhead, needed, available = (f"{size / GIB:.1f}" for size in terms)
        text = f"{weights} weights + {kv} cache + {overhead} buffers = {needed} GiB of {available} GiB"
        if self.fits:
            return f"{text}: fits"
        if self.fits_in_part:
            some = f"{self.layers_on_gpu} of {self.layers} layers fit, the rest runs on the CPU"
            return f"{text}: does not fit; {some if self.layers_on_gpu else 'all layers run on the CPU'}"
        in_all = f"{self.system_bytes / GIB:.1f} GiB in total"
        return f"{text}: does not fit, not even with layers on the CPU ({in_all})"


def memory_fit(shape: ModelShape, context: int, available_bytes: int, system_bytes: int) -> MemoryFit:
    """
    Add up the memory of a server with one slot.

    Buffers are estimated: logits of one micro-batch, a graph's activations of one micro-batch, a fixed part.
    """
    activations = _MICRO_BATCH * _FLOAT_BYTES * (shape.vocabulary + _WIDE_ACTIVATIONS * shape.width)
    return MemoryFit(
        weights_bytes=shape.weights_bytes,
        kv_bytes=shape.kv_bytes(context),
        overhead_bytes=_FIXED_BYTES + activations,
        available_bytes=available_bytes,
        system_bytes=system_bytes,
        layers=shape.layers,
    )
