"""The doors of the kit: commands, labs, demos, the doctor."""
