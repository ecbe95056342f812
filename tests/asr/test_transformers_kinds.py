"""`hf:` with a tiny random model of each kind: prompt, scores, language, batches."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from conftest import tone
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from lanser_cli.asr.engine import Engine, Options
from lanser_cli.asr.engines import make_engine
from lanser_cli.errors import LanserError, UsageError

LETTERS = "abcdefghijklmnopqrstuvwxyz' "


def tokenizer(special: Sequence[str], letters: Sequence[str] = LETTERS, **named: str) -> Any:
    """One token a letter, spaces too, before the special ones; `named` are among those."""
    vocabulary = {token: number for number, token in enumerate([*letters, *special])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token=special[0]))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.decoder = decoders.Fuse()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, additional_special_tokens=list(special), **named
    )


def lively(model: Any, scale: float = 8.0, seed: int = 3) -> Any:
    """Weights so large that what is heard decides what is written, and nothing else."""
    torch.manual_seed(seed)
    for name, weight in model.named_parameters():
        if "embed" in name and "conv" not in name:
            weight.data.normal_(0, 0.5)
        elif weight.dim() > 1:
            weight.data.mul_(4 * scale if "encoder_attn" in name else scale)
        elif "bias" in name:
            weight.data.normal_(0, 0.1)
    return model.eval()


def whisper(folder: Path, multilingual: bool) -> None:
    langs = ["<|en|>", "<|de|>", "<|fr|>"] if multilingual else []
    special = ["<|endoftext|>", "<|startoftranscript|>", *langs, "<|translate|>", "<|transcribe|>"]
    special += ["<|nospeech|>", "<|notimestamps|>"]
    end = special[0]
    words = tokenizer(special, pad_token=end, eos_token=end, bos_token=end, unk_token=end)
    ids = {token: words.convert_tokens_to_ids(token) for token in special}
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(
        transformers.WhisperConfig(
            vocab_size=len(words),
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            max_target_positions=24,
            pad_token_id=ids[end],
            bos_token_id=ids[end],
            eos_token_id=ids[end],
            decoder_start_token_id=ids["<|startoftranscript|>"],
            begin_suppress_tokens=None,
        )
    )
    settings = model.generation_config
    settings._from_model_config = False  # or it is made anew when the model is loaded
    settings.no_timestamps_token_id = ids["<|notimestamps|>"]
    settings.is_multilingual = multilingual
    settings.max_length = 24
    settings.suppress_tokens = [ids[token] for token in special[1:]]
    if multilingual:
        settings.lang_to_id = {lang: ids[lang] for lang in langs}
        tasks = ("transcribe", "translate")
        settings.task_to_id = {task: ids[f"<|{task}|>"] for task in tasks}
    lively(model).save_pretrained(folder)
    transformers.WhisperFeatureExtractor().save_pretrained(folder)
    words.save_pretrained(folder)


def wav2vec2(folder: Path, masked: bool) -> None:
    folder.mkdir(exist_ok=True)
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]
    (folder / "vocab.json").write_text(json.dumps({c: i for i, c in enumerate(letters)}))
    words = transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    extractor = transformers.Wav2Vec2FeatureExtractor(
        feature_size=1, sampling_rate=16_000, return_attention_mask=masked
    )
    transformers.Wav2Vec2Processor(extractor, words).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        vocab_size=len(letters),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(16, 16, 16),
        conv_kernel=(10, 8, 4),
        conv_stride=(5, 8, 8),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer" if masked else "group",
        pad_token_id=0,
    )
    lively(transformers.Wav2Vec2ForCTC(config)).save_pretrained(folder)


def moonshine(folder: Path) -> None:
    special = ["<unk>", "<s>", "</s>"]
    words = tokenizer(
        special, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    extractor = transformers.Wav2Vec2FeatureExtractor(
        do_normalize=False, return_attention_mask=True
    )
    transformers.Wav2Vec2Processor(extractor, words).save_pretrained(folder)
    torch.manual_seed(0)
    model = transformers.MoonshineForConditionalGeneration(
        transformers.MoonshineConfig(
            vocab_size=len(words),
            hidden_size=32,
            intermediate_size=64,
            encoder_num_hidden_layers=1,
            decoder_num_hidden_layers=1,
            encoder_num_attention_heads=2,
            decoder_num_attention_heads=2,
            pad_token_id=words.pad_token_id,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            decoder_start_token_id=words.bos_token_id,
        )
    )
    model.generation_config._from_model_config = False
    model.generation_config.max_length = 40
    lively(model).save_pretrained(folder)


def parakeet_encoder() -> dict[str, Any]:
    return dict(
        model_type="parakeet_encoder",
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        subsampling_conv_channels=8,
        num_mel_bins=80,
        scale_input=False,
    )


def parakeet(folder: Path) -> None:
    special = ["<unk>", "<pad>"]
    words = tokenizer(special, unk_token="<unk>", pad_token="<pad>")
    words = transformers.ParakeetTokenizer(
        tokenizer_object=words.backend_tokenizer, unk_token="<unk>", pad_token="<pad>"
    )
    extractor = transformers.ParakeetFeatureExtractor(feature_size=80)
    transformers.ParakeetProcessor(extractor, words).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.ParakeetCTCConfig(
        vocab_size=len(words), encoder_config=parakeet_encoder(), pad_token_id=words.pad_token_id
    )
    lively(transformers.ParakeetForCTC(config), 20.0).save_pretrained(folder)


def parakeet_rnnt(folder: Path) -> None:
    special = ["<unk>", "<pad>", "<blank>"]
    words = tokenizer(special, unk_token="<unk>", pad_token="<pad>")
    words = transformers.ParakeetTokenizer(
        tokenizer_object=words.backend_tokenizer, unk_token="<unk>", pad_token="<pad>"
    )
    extractor = transformers.ParakeetFeatureExtractor(feature_size=80)
    transformers.ParakeetProcessor(extractor, words, decoder_type="rnnt").save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.ParakeetRNNTConfig(
        vocab_size=len(words),
        encoder_config=parakeet_encoder(),
        decoder_hidden_size=32,
        num_decoder_layers=1,
        max_symbols_per_step=3,
        pad_token_id=words.pad_token_id,
        blank_token_id=words.convert_tokens_to_ids("<blank>"),
    )
    model = transformers.ParakeetForRNNT(config)
    model.generation_config._from_model_config = False
    model.generation_config.decoder_start_token_id = config.blank_token_id
    lively(model, 20.0).save_pretrained(folder)


def cohere(folder: Path) -> None:
    special = ["<unk>", "<pad>", "<eos>", "▁", "<|startofcontext|>", "<|startoftranscript|>"]
    special += ["<|emo:undefined|>", "<|en|>", "<|de|>", "<|pnc|>", "<|noitn|>"]
    special += ["<|notimestamp|>", "<|nodiarize|>"]
    words = tokenizer(special, unk_token="<unk>", pad_token="<pad>", eos_token="<eos>")
    extractor = transformers.CohereAsrFeatureExtractor(feature_size=80)
    transformers.CohereAsrProcessor(extractor, words).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.CohereAsrConfig(
        encoder_config=parakeet_encoder(),
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        pad_token_id=words.pad_token_id,
        eos_token_id=words.eos_token_id,
        bos_token_id=words.convert_tokens_to_ids("<|startofcontext|>"),
        decoder_start_token_id=words.convert_tokens_to_ids("▁"),
    )
    model = transformers.CohereAsrForConditionalGeneration(config)
    model.generation_config._from_model_config = False
    model.generation_config.max_new_tokens = 20
    lively(model).save_pretrained(folder)


CANARY = """{%- for message in messages %}{% for part in message.content %}
{%- if part.type == 'text' -%}
<|startofcontext|><|{{ part.source_language }}|><|{{ part.target_language }}|>
{%- endif %}{% endfor %}{% endfor -%}"""


def canary(folder: Path) -> None:
    special = ["<unk>", "<pad>", "<eos>", "<|startofcontext|>", "<|en|>", "<|de|>"]
    words = tokenizer(
        special,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<|startofcontext|>",
    )
    extractor = transformers.ParakeetFeatureExtractor(feature_size=80)
    transformers.CanaryProcessor(extractor, words, chat_template=CANARY).save_pretrained(folder)
    ids = dict(
        vocab_size=len(words),
        pad_token_id=words.pad_token_id,
        eos_token_id=words.eos_token_id,
        bos_token_id=words.bos_token_id,
    )
    torch.manual_seed(0)
    decoder = dict(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        **ids,
    )
    config = transformers.CanaryConfig(
        encoder_config=parakeet_encoder(),
        decoder_config=decoder,
        decoder_start_token_id=words.bos_token_id,
        tie_word_embeddings=False,
        **ids,
    )
    model = transformers.CanaryForConditionalGeneration(config)
    settings = model.generation_config
    settings._from_model_config = False  # or it is made anew when the model is loaded
    settings.max_new_tokens = 20
    settings.suppress_tokens = words.convert_tokens_to_ids(special)
    lively(model).save_pretrained(folder)


QWEN = """{%- for message in messages %}<|im_start|>{{ message.role }}
{% for part in message.content -%}
{%- if part.type == 'audio' %}<|audio_start|><|audio_pad|><|audio_end|>
{%- else %}{{ part.text }}{% endif %}{% endfor %}
{%- if not (loop.last and continue_final_message) %}<|im_end|>{% endif %}{% endfor -%}"""


def qwen3_asr(folder: Path) -> None:
    special = ["<unk>", "<|im_start|>", "<|im_end|>", "<|audio_start|>", "<|audio_pad|>"]
    special += ["<|audio_end|>", "<timestamp>"]
    words = tokenizer(
        special,
        [*LETTERS, *"ABCDEFGHIJKLMNOPQRSTUVWXYZ<>_\n"],
        unk_token="<unk>",
        pad_token="<|im_end|>",
        eos_token="<|im_end|>",
        extra_special_tokens={
            "audio_token": "<|audio_pad|>",
            "audio_bos_token": "<|audio_start|>",
            "audio_eos_token": "<|audio_end|>",
        },
    )
    extractor = transformers.Qwen3ASRFeatureExtractor()
    transformers.Qwen3ASRProcessor(extractor, words, chat_template=QWEN).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.Qwen3ASRConfig(
        audio_config=dict(
            encoder_layers=1,
            encoder_attention_heads=2,
            encoder_ffn_dim=64,
            d_model=32,
            output_dim=32,
            downsample_hidden_size=8,
        ),
        text_config=dict(
            model_type="qwen3",
            vocab_size=len(words),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            tie_word_embeddings=False,
        ),
        audio_token_id=words.convert_tokens_to_ids("<|audio_pad|>"),
        tie_word_embeddings=False,
        timestamp_token_id=words.convert_tokens_to_ids("<timestamp>"),
        pad_token_id=words.pad_token_id,
        eos_token_id=words.eos_token_id,
    )
    model = transformers.Qwen3ASRForConditionalGeneration(config)
    settings = model.generation_config
    settings._from_model_config = False  # or it is made anew when the model is loaded
    settings.max_new_tokens = 20
    settings.suppress_tokens = words.convert_tokens_to_ids(special)
    lively(model).save_pretrained(folder)


KINDS: dict[str, Callable[[Path], None]] = {
    "whisper": lambda folder: whisper(folder, multilingual=True),
    "whisper.en": lambda folder: whisper(folder, multilingual=False),
    "wav2vec2": lambda folder: wav2vec2(folder, masked=False),
    "wav2vec2-masked": lambda folder: wav2vec2(folder, masked=True),
    "moonshine": moonshine,
    "parakeet": parakeet,
    "parakeet-rnnt": parakeet_rnnt,
    "cohere": cohere,
    "canary": canary,
    "qwen3-asr": qwen3_asr,
}
TOLD = {"canary": "en", "cohere": "en"}
"""Kinds that must be told the language."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def find(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp("kinds") / kind
            KINDS[kind](made[kind])
        return made[kind]

    return find


def clips() -> list[np.ndarray]:
    noise = np.random.default_rng(0)
    return [
        tone(seconds, 100 + 60 * index)
        + (0.05 * noise.standard_normal(round(seconds * 16_000))).astype(np.float32)
        for index, seconds in enumerate((0.5, 0.9, 1.4, 2.2, 3.0))
    ]


def engine_of(folder: Callable[[str], Path], kind: str, **options: Any) -> Engine:
    return make_engine(f"hf:{folder(kind)}", Options(**{"lang": TOLD.get(kind), **options}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_depends_on_its_clip_and_on_no_other(
    kind: str, folder: Callable[[str], Path]
) -> None:
    engine, some = engine_of(folder, kind), clips()
    together = engine.transcribe(some)
    assert len({round(t.avg_logprob or 0, 3) for t in together}) > 2, "it hears"
    for batch in ([0], [1], [2], [3], [4], [4, 2], [3, 1, 0]):
        found = engine.transcribe([some[index] for index in batch])
        for index, transcript in zip(batch, found, strict=True):
            assert transcript.text == together[index].text
            assert transcript.lang == together[index].lang
            assert transcript.avg_logprob is not None and transcript.avg_logprob < 0
            assert transcript.avg_logprob == pytest.approx(together[index].avg_logprob, abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_in_float16_as_on_a_gpu_a_text_is_the_same(
    kind: str, folder: Callable[[str], Path]
) -> None:
    engine, some = engine_of(folder, kind), clips()
    exact = engine.transcribe(some)
    engine._model.half()
    for ours, theirs in zip(engine.transcribe(some), exact, strict=True):
        assert ours.text[:5] == theirs.text[:5], "with weights by chance later letters may differ"
        assert ours.avg_logprob == pytest.approx(theirs.avg_logprob, abs=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_that_overflows_in_float16_is_a_reject_and_no_text(
    kind: str, folder: Callable[[str], Path]
) -> None:
    engine, some = engine_of(folder, kind), clips()
    weights = engine._model.half().parameters()
    with torch.no_grad():
        largest = max(weights, key=lambda weight: weight.numel())
        largest[...] = float("nan")
    with pytest.raises(FloatingPointError, match="it computes NaN"):
        engine.transcribe(some)


# ---------------------------------------------------------------- what it says of its text


def test_the_score_of_ctc_is_that_of_its_best_path_where_it_is_no_blank(
    folder: Callable[[str], Path],
) -> None:
    model = transformers.AutoModelForCTC.from_pretrained(folder("wav2vec2"))
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder("wav2vec2"))
    for clip in clips()[:2]:
        with torch.no_grad():
            values = extractor(clip, sampling_rate=16_000, return_tensors="pt").input_values
            probabilities = model(values).logits[0].softmax(-1).numpy()
        best = [frame for frame in probabilities if frame.argmax() != 0]
        (found,) = engine_of(folder, "wav2vec2").transcribe([clip])
        expected = np.log([frame.max() for frame in best]).mean()
        assert found.avg_logprob == pytest.approx(expected, abs=1e-3)


def test_a_model_that_writes_is_scored_by_what_it_writes_and_by_its_end(
    folder: Callable[[str], Path],
) -> None:
    """Against transformers' own transition scores."""
    model = transformers.MoonshineForConditionalGeneration.from_pretrained(folder("moonshine"))
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder("moonshine"))
    lengths = set()
    for clip in clips():
        inputs = extractor(clip, sampling_rate=16_000, return_tensors="pt")
        out = model.generate(**inputs, return_dict_in_generate=True, output_scores=True)
        (scores,) = model.compute_transition_scores(
            out.sequences, out.scores, normalize_logits=True
        )
        (found,) = engine_of(folder, "moonshine").transcribe([clip])
        assert found.avg_logprob == pytest.approx(float(scores.mean()), abs=1e-3)
        lengths.add(len(scores))
    assert len(lengths) > 1, "some end by themselves"


@pytest.mark.parametrize("kind", ["wav2vec2", "moonshine", "parakeet", "parakeet-rnnt"])
def test_a_text_is_that_of_transformers_own_pipeline(
    kind: str, folder: Callable[[str], Path]
) -> None:
    """Without its five beams."""
    pipeline = transformers.pipeline("automatic-speech-recognition", model=str(folder(kind)))
    options = {"num_beams": 1, "max_new_tokens": None} if kind == "moonshine" else {}
    if kind == "parakeet-rnnt":
        options = {"max_new_tokens": 1000}
    expected = [pipeline(clip, generate_kwargs=options)["text"].strip() for clip in clips()[:3]]
    found = engine_of(folder, kind).transcribe(clips()[:3])
    assert [transcript.text for transcript in found] == expected


@pytest.mark.parametrize("kind", ["whisper", "whisper.en"])
def test_whispers_text_is_that_of_its_own_generate(
    kind: str, folder: Callable[[str], Path]
) -> None:
    """And so is its score."""
    model = transformers.WhisperForConditionalGeneration.from_pretrained(folder(kind))
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder(kind))
    words = transformers.AutoTokenizer.from_pretrained(folder(kind))
    lang = "de" if kind == "whisper" else None
    spoken = {"language": lang, "task": "transcribe"} if lang else {}
    for clip in clips()[:2]:
        features = extractor(clip, sampling_rate=16_000, return_tensors="pt").input_features
        out = model.generate(
            features,
            return_dict_in_generate=True,
            output_scores=True,
            force_unique_generate_call=True,
            **spoken,
        )
        (scores,) = model.compute_transition_scores(
            out.sequences, out.scores, normalize_logits=True
        )
        (found,) = engine_of(folder, kind, lang=lang).transcribe([clip])
        assert found.text == words.decode(out.sequences[0], skip_special_tokens=True).strip()
        assert found.avg_logprob == pytest.approx(float(scores.mean()), abs=1e-3)


# ---------------------------------------------------------------- language and prompt


def asked(engine: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the model is given to go on from."""
    found: dict[str, Any] = {}
    generate = engine._model.generate

    def watched(**inputs: Any) -> Any:
        found.update(inputs)
        return generate(**inputs)

    monkeypatch.setattr(engine._model, "generate", watched)
    engine.transcribe(clips()[:2])
    return found


@pytest.mark.parametrize("kind", TOLD)
def test_who_does_not_find_the_language_is_told(
    kind: str, folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine: Any = engine_of(folder, kind, lang="de")
    prompts = asked(engine, monkeypatch)["decoder_input_ids"]
    words = engine._processor.tokenizer
    assert ["<|de|><|de|>" in words.decode(ids) for ids in prompts] == [True, True]
    assert {transcript.lang for transcript in engine.transcribe(clips()[:2])} == {"de"}
    with pytest.raises(UsageError, match="does not find the language itself: say it with --lang"):
        engine_of(folder, kind, lang=None)
    with pytest.raises(UsageError, match=f"--lang 'xx': hf:.*{kind}: .*xx"):
        engine_of(folder, kind, lang="xx")


def test_qwen3_asr_is_asked_in_its_own_words(
    folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine: Any = engine_of(folder, "qwen3-asr", lang="de")
    first = engine._processor.tokenizer.decode(asked(engine, monkeypatch)["input_ids"][0])
    assert first.count("<|audio_pad|>") > 3, "as many as there are frames of sound"
    assert first.endswith("language German<asr_text>")
    engine = engine_of(folder, "qwen3-asr")
    first = engine._processor.tokenizer.decode(asked(engine, monkeypatch)["input_ids"][0])
    assert first.endswith("assistant\n")


def test_the_language_that_qwen3_asr_finds_is_kept(folder: Callable[[str], Path]) -> None:
    engine: Any = engine_of(folder, "qwen3-asr")
    for text, expected in [
        ("language German<asr_text>guten tag", ("guten tag", "de")),
        ("language None<asr_text>", ("", None)),
        ("guten tag", ("guten tag", None)),
    ]:
        tokens = engine._processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        found = engine._transcript(tokens, -0.5)
        assert (found.text, found.lang, found.avg_logprob) == (*expected, -0.5)


def test_whisper_knows_its_languages_and_finds_them(folder: Callable[[str], Path]) -> None:
    found = engine_of(folder, "whisper").transcribe(clips()[:2])
    assert {transcript.lang for transcript in found} <= {"en", "de", "fr"}
    assert all(0 <= transcript.no_speech_prob <= 1 for transcript in found)  # type: ignore
    german = engine_of(folder, "whisper", lang="de-AT").transcribe(clips()[:2])
    assert {transcript.lang for transcript in german} == {"de"}
    with pytest.raises(UsageError, match="--lang 'xx': hf:.* knows no such language"):
        engine_of(folder, "whisper", lang="xx")
    assert engine_of(folder, "whisper.en", lang="en").max_seconds == 30.0
    with pytest.raises(UsageError, match=r"--lang 'de': hf:.*whisper\.en understands English only"):
        engine_of(folder, "whisper.en", lang="de")


def test_of_a_whisper_that_names_no_languages_none_is_said(
    folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """As of many that were fine-tuned on one language: it may be any, and was taken for English."""
    shutil.copytree(folder("whisper.en"), tmp_path / "tuned")
    path = tmp_path / "tuned" / "generation_config.json"
    settings = json.loads(path.read_text())
    del settings["is_multilingual"]
    path.write_text(json.dumps(settings))
    name = f"hf:{tmp_path / 'tuned'}"
    found = make_engine(name, Options()).transcribe(clips()[:2])
    plain = engine_of(folder, "whisper.en").transcribe(clips()[:2])
    assert found == [replace(transcript, lang=None) for transcript in plain]
    assert [transcript.lang for transcript in plain] == ["en", "en"]
    with pytest.raises(UsageError, match="--lang 'de': .* does not say which languages it knows"):
        make_engine(name, Options(lang="de"))


@pytest.mark.parametrize("kind", ["wav2vec2", "parakeet", "moonshine"])
def test_a_language_that_cannot_be_chosen_is_refused(
    kind: str, folder: Callable[[str], Path]
) -> None:
    with pytest.raises(UsageError, match="--lang 'en': hf:.* has no choice of language: leave it"):
        engine_of(folder, kind, lang="en")


# ---------------------------------------------------------------- what is refused


def test_a_model_that_recognises_no_speech_is_refused(tiny_nli: Path) -> None:
    with pytest.raises(LanserError, match="BertForSequenceClassification is no recogniser"):
        make_engine(f"hf:{tiny_nli}", Options())


def test_a_model_that_fails_on_sound_is_refused_before_the_first_record(
    folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """Here a spectrogram of another height than the model was made for."""
    import shutil

    shutil.copytree(folder("parakeet"), tmp_path / "bent")
    transformers.ParakeetFeatureExtractor(feature_size=64).save_pretrained(tmp_path / "bent")
    (tmp_path / "bent" / "processor_config.json").unlink(missing_ok=True)
    with pytest.raises(LanserError, match="bent: this model cannot be loaded: ") as caught:
        make_engine(f"hf:{tmp_path / 'bent'}", Options())
    assert "\n" not in str(caught.value)


def test_a_clip_for_which_the_tokens_would_not_do_is_refused(
    folder: Callable[[str], Path],
) -> None:
    assert engine_of(folder, "moonshine").max_seconds == pytest.approx(40 / 6.5)
    assert engine_of(folder, "wav2vec2").max_seconds is None
