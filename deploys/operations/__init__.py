"""How a host gets to be as it should: operations, each paired with a fact of the same name."""
