"""Headers of published models."""

from tests.fixtures.published_headers import header_of


__all__ = ["header_of"]
