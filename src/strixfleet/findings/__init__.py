"""What was found: differences, verdicts, reports, and the store of runs."""
