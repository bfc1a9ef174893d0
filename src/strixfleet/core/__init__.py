"""How is it decided? Pure functions of data: no clock, no disk, no network."""
