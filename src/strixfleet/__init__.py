"""strixfleet: provision, upgrade and audit AMD Strix Halo boxes that serve language models."""

__version__ = "0.1.0"
