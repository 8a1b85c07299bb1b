"""Entries of people who want to be believed, or worse: each is refused or held at its true level, in one line."""
