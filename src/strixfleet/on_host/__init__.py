"""What runs on a host: the programs, their one small library, and what both sides say to each other."""
