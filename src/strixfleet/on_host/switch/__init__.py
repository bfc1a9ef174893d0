"""Programs that are copied to hosts: standard library only, and nothing of ours."""
