"""What a computation does, and how long a device takes for it."""
