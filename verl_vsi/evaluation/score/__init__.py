"""Scoring: replies become answers, answers a result with intervals, results means, differences and baselines."""
