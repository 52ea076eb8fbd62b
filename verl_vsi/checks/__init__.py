"""What a run is asked before it starts, and what is watched while it runs."""
