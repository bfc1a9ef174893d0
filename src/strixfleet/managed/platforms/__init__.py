"""Distributions, package archives, boot loaders, backends."""
