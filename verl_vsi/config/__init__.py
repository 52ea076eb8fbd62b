"""What a recipe says: where recipes are, composing and comparing them, what they cost, what a run was started with."""
