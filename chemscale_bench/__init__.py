"""The benchmark suite of neural scaling in chemistry."""
