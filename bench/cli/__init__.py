"""The `featune` command: options in, one function called, results printed."""
