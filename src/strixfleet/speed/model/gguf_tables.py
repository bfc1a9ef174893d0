"""Load only the type tables of the gguf package: its reader and numpy take longer to import than a header."""

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType


def type_sizes() -> dict[int, tuple[str, int, int]]:
    """Return id to name, values per block, bytes per block."""
    sizes = _constants().GGML_QUANT_SIZES
    return {int(kind): (str(kind.name), int(values), int(size)) for kind, (values, size) in sizes.items()}


def _constants() -> ModuleType:
    """Load `gguf/constants.py` alone; if it is not found, the whole package."""
    if "gguf.constants" in sys.modules:
        return sys.modules["gguf.constants"]
    package = find_spec("gguf")
    for folder in (package.submodule_search_locations or ()) if package else ():
        file = Path(folder) / "constants.py"
        if file.is_file():
            loader = SourceFileLoader("strixfleet_gguf_constants", str(file))
            spec = spec_from_loader(loader.name, loader)
            if spec is not None:
                module = module_from_spec(spec)
                loader.exec_module(module)
                return module
    import gguf.constants

    constants: ModuleType = gguf.constants
    return constants
