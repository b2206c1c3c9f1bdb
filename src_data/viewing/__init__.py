"""Shows chains to a person: out of any file that holds some (`chain_files`), as one HTML page (`view_page`);
the terminal is `src_data.view` itself.
"""
