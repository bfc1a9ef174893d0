"""Small git repositories."""

from tests.fixtures.git_repositories import commit, in_upstream, upstream


__all__ = ["commit", "in_upstream", "upstream"]
