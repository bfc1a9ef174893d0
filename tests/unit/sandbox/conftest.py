"""Small git repositories and headers of published models."""

from tests.fixtures.git_repositories import commit, in_upstream, plugin, served, upstream
from tests.fixtures.published_headers import header_of


__all__ = ["commit", "header_of", "in_upstream", "plugin", "served", "upstream"]
