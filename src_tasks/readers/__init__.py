"""Question sets as their publishers ship them, files or sets of the hub, read row by row: one pure function
per layout (a module per set), the table that finds the layout of a row (`formats`), and `sources`, which
reads what is configured. A reader returns a `SourceRow` (`rows`) or raises `RowError` with the reason.
"""
