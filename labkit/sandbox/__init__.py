"""Where a student's code runs: a worker behind walls, with limits. It knows no answers."""
