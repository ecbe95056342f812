"""Tar shards and their index: write, read, verify. The only room that knows WebDataset.

A shard holds `KEY.flac` and `KEY.json` for each record, KEY being its id. `index.json` is written
last; its presence means that the set is whole.
"""

from lanser_cli.shards.encoding import CODECS, Encoder, Sample
from lanser_cli.shards.index import INDEX, SCHEMA, ShardInfo, read_index
from lanser_cli.shards.reading import check_inputs, read, read_tar
from lanser_cli.shards.remote import fetch
from lanser_cli.shards.verifying import verify
from lanser_cli.shards.writing import ShardWriter, write

__all__ = [
    "CODECS",
    "INDEX",
    "SCHEMA",
    "Encoder",
    "Sample",
    "ShardInfo",
    "ShardWriter",
    "check_inputs",
    "fetch",
    "read",
    "read_index",
    "read_tar",
    "verify",
    "write",
]
