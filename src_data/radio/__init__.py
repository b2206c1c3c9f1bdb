"""RADIO (arXiv 2412.08519): a language model's rationales teach a reranker.

    rationales -> candidates -> scores -> blend -> (src_train: fine-tuning) -> rank

Each is a stage of `python -m src_data.radio.run STAGE CONFIG.yaml`; all files of a run are in one folder
(`files`). Rankings and tables of scores have one form, `src_core.rankings`.
"""
