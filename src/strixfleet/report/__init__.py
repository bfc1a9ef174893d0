"""How is it shown? One file per medium."""
