"""How does it touch the world? One file per outside tool."""
