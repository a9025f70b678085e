"""What was measured, on what it rests, and what is stale."""
