"""When two texts say the same, and what is said of a name that is not known."""

from __future__ import annotations

from lanser_cli.texts import near, spoken_form


def test_the_nearest_name_is_proposed_and_what_is_there_is_listed() -> None:
    assert near("tran", ["train", "dev"]) == "did you mean 'train'? there are: dev, train"
    assert near("xyz", ["b", "a"]) == "there are: a, b"
    assert near("s9", [f"s{n:02d}" for n in range(30)]).endswith("s19 and 10 more")
    assert near("x", []) == "there are: none"


def test_vowels_that_are_marks_tell_words_apart_and_case_and_marks_beside_words_do_not() -> None:
    different = ["का", "की", "कि", "क", "กา", "ก่า", "cafe", "café", "naïve", "naive"]
    assert len({spoken_form(text) for text in different}) == len(different)
    for one, other in [("नमस्ते!", " नमस्ते "), ("Don’t", "dont"), ("a_b ❤️ C", "A b c"), ("❤️", "")]:
        assert spoken_form(one) == spoken_form(other)
