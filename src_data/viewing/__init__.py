"""Shows chains: reads them from any file that holds some (`chain_files`) and writes one HTML page
(`view_page`); `src_data.view` prints to the terminal.
"""
