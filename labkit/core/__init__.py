"""What every floor stands on: checks, hooks, targets, the door of every method, statistics, the registry."""
