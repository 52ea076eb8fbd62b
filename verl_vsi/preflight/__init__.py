"""What a run is asked before it starts (`startup`), and what is watched while it trains (`watch`)."""
