"""A folder of documents (Markdown, text, HTML, PDF, DOCX) becomes a corpus of passages with their sources:
`reading` gives the blocks of a file, `chunking` cuts them into passages, `corpus` writes the rows.
"""
