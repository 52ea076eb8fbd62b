"""Scoring a model on VSI-Bench, or on rows of one's own; numbers carry their labels. Imports neither torch nor verl.

               ask                          report
    questions -> vLLM or an         results -> tables, pictures,
    endpoint -> replies             beside the papers' numbers
                 \\                    /
                  v                  v
                          score
         replies -> answers -> a result with intervals;
         baselines, seeds, comparison, published numbers
                            |
                            v
     items    conditions    protocol    labels    task_columns
          what is asked, how, and what a result says of it

Arrows are imports, and there are no others: `ask` and `report` do not know each other, and `score` knows neither.

An evaluation enters each part once. `ask.run.run_jobs` starts a server and asks what is not answered yet;
`score.result.make_result` grades the replies and writes one JSON file; `report.report_files.write_report` takes such
files.
"""
