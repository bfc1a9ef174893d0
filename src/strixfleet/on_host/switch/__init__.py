"""The program strixfleet-host, which is installed on hosts and switches builds there."""
