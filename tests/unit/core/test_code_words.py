"""Words of code and of prose."""

from codexteam.core.code_words import counted_words, names_in, search_words, words_of


def test_a_name_of_several_words_gives_them_and_itself() -> None:
    assert words_of("parseHTTPHeader") == ["parsehttpheader", "parse", "http", "header"]
    assert words_of("read_csv_file") == ["read", "csv", "file"]


def test_prose_and_code_share_words_in_every_script() -> None:
    assert words_of("Größe der Überschrift") == ["größe", "der", "überschrift"]


def test_a_word_counts_a_few_times_at_most() -> None:
    assert counted_words("row row row row row") == "row row row"


def test_a_goal_is_searched_for_by_the_words_that_tell() -> None:
    assert search_words("Please fix the CsvReader so that it skips 3 rows; rows!", most=9) == [
        "csvreader",
        "csv",
        "reader",
        "skips",
        "rows",
    ]
    assert search_words("one row two", most=1) == ["row"]


def test_names_are_found_whole() -> None:
    assert names_in("return load_rows(path.Name) if x else _kept") >= {"load_rows", "Name", "_kept", "path"}
