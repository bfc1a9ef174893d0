"""All that runs on a host, and what both sides say to each other."""
