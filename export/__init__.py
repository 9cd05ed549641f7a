"""Makes the files that fast backends need, and refuses those that are wrong."""
