"""What is on a host: one bundle fact a concern, each one execution."""
