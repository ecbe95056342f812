"""Tar shards and their index: select, write, read, verify, relabel.

Only this room knows WebDataset.

A shard holds `KEY.flac` and `KEY.json` for each record, KEY being its id. `index.json` is written
last; its presence means that the set is whole.
"""
