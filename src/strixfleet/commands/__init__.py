"""What can I type? One file per verb: parse, select, call, render, exit."""
