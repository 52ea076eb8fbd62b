"""Asking: a model is served or an endpoint named, every question is asked, and every reply is journaled."""
