"""Numbers that carry their labels: answering, scoring, comparing and drawing. Imports neither torch nor verl."""
