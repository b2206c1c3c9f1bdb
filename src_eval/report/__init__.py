"""A run as one HTML page that a person likes to read: what it scored, and every trajectory behind that.

`run_files` reads what a scored run left on disk, `run_facts` says how it was made, `page_data` turns one run
or two into what the page holds, `page/` is the page: its script and style, no framework. Figures are those of
`scores.json`; the page itself only counts, draws and filters.
"""
