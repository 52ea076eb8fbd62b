"""Text in, number out: answers, metrics, formats and the rewards that verl calls. No I/O, no torch, no verl."""
