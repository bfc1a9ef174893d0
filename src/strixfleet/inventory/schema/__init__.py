"""The shape of the inventory: fields, types, rules."""
