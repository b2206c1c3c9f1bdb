"""A run as one HTML page: its scores and all its trajectories.

`run_files` reads the files of a scored run, `run_facts` lists its settings, `page_data` converts one or two
runs to the data of the page, `page/` holds the script and style of the page (no framework). Scores are those
of `scores.json`; the page itself only counts, draws and filters.
"""
