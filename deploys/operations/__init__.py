"""How a host gets to be as it should: operations, which read facts and yield commands."""
