"""Speech to text: engines behind one small protocol, and reasons to distrust what they wrote."""

from lanser_cli.asr.engines import Engine, Transcript, make_engine
from lanser_cli.asr.transcribing import make_transcriber, transcribe

__all__ = ["Engine", "Transcript", "make_engine", "make_transcriber", "transcribe"]
