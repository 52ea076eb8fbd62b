"""One module a command of `verl-vsi`; each holds a typer `app` and calls the library for the work."""
