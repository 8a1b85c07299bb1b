"""One file per model: its configuration, its sizes, how it is built, and what a step of it costs."""
