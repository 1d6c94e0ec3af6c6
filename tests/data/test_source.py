"""Reading files and folders: what is understood, what was decided, and what every bad file is told."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from whet.data.source import read, read_splits
from whet.errors import DataError

CSV = "text,label\ngood,pos\nbad,neg\n"


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# --- what is understood ---


def test_csv_cells_stay_text_and_places_are_the_lines_a_record_starts_on(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'text,label\n"two\nlines",1\n\n"say ""hi""",0\r\n 007 ,0\n')
    rows = read(path)
    assert rows.columns == {"text": ["two\nlines", 'say "hi"', " 007 "], "label": ["1", "0", "0"]}
    assert list(rows.places) == [2, 5, 6]
    assert rows.source == "a.csv"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
def test_korean_text_survives_every_encoding(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, "a.csv", "문장,라벨\n좋은 영화,긍정\n".encode(encoding))
    given = None if encoding.startswith("utf-8") else encoding
    assert read(path, encoding=given).columns == {"문장": ["좋은 영화"], "라벨": ["긍정"]}


def test_json_jsonl_and_parquet_keep_their_types_and_fill_missing_keys(tmp_path: Path) -> None:
    records = [{"text": "good", "label": 1}, {"text": "a\u2028b", "labels": ["x"]}]
    expected = {"text": ["good", "a\u2028b"], "label": [1, None], "labels": [None, ["x"]]}
    array = json.dumps(records, ensure_ascii=False)
    assert read(write(tmp_path, "a.json", array)).columns == expected
    assert read(write(tmp_path, "b.json", f'{{"data": {array}}}')).columns == expected
    lines = read(write(tmp_path, "a.jsonl", "\n\n".join(json.dumps(r, ensure_ascii=False) for r in records)))
    assert (lines.columns, list(lines.places)) == (expected, [1, 3])
    pq.write_table(pa.table(expected), tmp_path / "a.PARQUET")
    table = read(tmp_path / "a.PARQUET")
    assert (table.columns, list(table.places)) == (expected, [1, 2])


def test_class_numbers_that_a_parquet_file_names_become_names(tmp_path: Path) -> None:
    feature = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": feature}})}
    table = pa.table({"label": [1, 0, -1]}).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").columns == {"label": ["pos", "neg", None]}


@pytest.mark.parametrize(("name", "sign"), [("a.csv", ";"), ("a.csv", "\t"), ("a.csv", "|")])
def test_a_delimiter_other_than_comma_is_found_and_told(tmp_path: Path, name: str, sign: str) -> None:
    path = write(tmp_path, name, CSV.replace(",", sign))
    splits, choices = read_splits(str(path), None, None)
    assert splits["train"].columns == {"text": ["good", "bad"], "label": ["pos", "neg"]}
    (choice,) = [choice for choice in choices if choice.path == "data.delimiter"]
    assert (choice.value, choice.origin) == (sign, "inferred")
    assert name in choice.reason


def test_a_given_delimiter_and_encoding_are_used(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "text;x,label\ncafé;pos\n".encode("cp1252"))
    splits, choices = read_splits(str(path), None, None, delimiter=";", encoding="cp1252")
    assert splits["train"].columns == {"text": ["café"], "x,label": ["pos"]}
    assert {choice.path: choice.origin for choice in choices} == {"data.encoding": "given", "data.delimiter": "given"}
    assert read(path, delimiter="tab", encoding="cp1252").columns == {"text;x,label": ["café;pos"]}


@pytest.mark.parametrize("rows", ['"odd\tpos\nfine\tneg\n', '"odd\tpos\nfine\tneg\neven"\tpos\n'])
def test_an_unquoted_tsv_loses_no_line_to_a_lone_quotation_mark(tmp_path: Path, rows: str) -> None:
    splits, choices = read_splits(str(write(tmp_path, "a.tsv", f"text\tlabel\n{rows}")), None, None)
    assert splits["train"].columns["text"][:2] == ['"odd', "fine"]
    assert "plain characters" in next(choice.reason for choice in choices if choice.path == "data.delimiter")


def test_a_quoted_tsv_is_read_as_quoted(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", 'text\tlabel\n"a ""b"" c"\tpos\n')
    assert read(path).columns["text"] == ['a "b" c']


# --- folders ---


def test_a_folder_of_named_files_is_understood_by_their_names(tmp_path: Path) -> None:
    for name in ("train.csv", "dev.jsonl", "test_gold.csv", "index.csv", "README.md", ".hidden.csv"):
        write(tmp_path, name, '{"text": "x", "label": "y"}' if name.endswith("jsonl") else CSV)
    splits, choices = read_splits(str(tmp_path), None, None)
    assert {part: rows.source for part, rows in splits.items()} == {
        "train": "train.csv",
        "validation": "dev.jsonl",
        "test": "test_gold.csv",
    }
    reasons = {choice.path: choice.reason for choice in choices}
    assert "index.csv" in reasons["data.train"]
    assert {"data.train", "data.validation", "data.test"} < set(reasons)


def test_a_file_given_for_a_part_stands_in_for_the_folders(tmp_path: Path) -> None:
    write(tmp_path, "d/train.csv", CSV)
    write(tmp_path, "d/test.csv", CSV)
    other = write(tmp_path, "other.csv", CSV)
    splits, choices = read_splits(str(tmp_path / "d"), None, str(other))
    assert splits["test"].source == "other.csv"
    assert "data.test" not in {choice.path for choice in choices}


def test_a_folder_with_one_data_file_is_that_file(tmp_path: Path) -> None:
    write(tmp_path, "reviews.csv", CSV)
    splits, _ = read_splits(str(tmp_path), None, None)
    assert list(splits) == ["train"]
    assert splits["train"].source == "reviews.csv"


def test_folders_of_classes_become_text_and_label(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for label in ("neg", "pos"):
            write(tmp_path, f"{part}/{label}/1.txt", f"{part} {label}")
    splits, choices = read_splits(str(tmp_path), None, None)
    assert splits["train"].columns == {"text": ["train neg", "train pos"], "label": ["neg", "pos"]}
    assert splits["test"].columns == {"text": ["test neg", "test pos"], "label": ["neg", "pos"]}
    assert all("folder's name is the label" in choice.reason for choice in choices)
    plain, _ = read_splits(str(tmp_path / "train"), None, None)
    assert plain == {"train": splits["train"]}


def test_files_that_differ_in_delimiter_are_each_read_right_and_the_choice_says_so(tmp_path: Path) -> None:
    train = write(tmp_path, "train.csv", CSV)
    test = write(tmp_path, "test.csv", CSV.replace(",", ";"))
    splits, choices = read_splits(str(train), None, str(test))
    assert splits["train"].columns == splits["test"].columns
    (choice,) = [choice for choice in choices if choice.path == "data.delimiter"]
    assert choice.value is None
    assert "test.csv" in choice.reason


# --- what bad files are told ---

MEGABYTE = 1_000_001

BAD: dict[str, tuple[str, str | bytes, list[str]]] = {
    "empty": ("a.csv", "", ["a.csv", "empty", "0 bytes"]),
    "only a byte order mark": ("a.csv", b"\xef\xbb\xbf\n", ["empty"]),
    "header only": ("a.csv", "text,label\n", ["a.csv", "not a single row"]),
    "repeated column": ("a.csv", "text,label,text\na,b,c\n", ["'text'", "2 times", "1, 3", "rename"]),
    "nameless column": ("a.csv", ",text\n0,a\n", ["no name for column 1", "index=False"]),
    "ragged": ("a.csv", CSV + "a,b,c\nd\n", ["header has 2", "line 4 has 3", "line 5 has 1", "quotation marks"]),
    "very ragged": ("a.csv", CSV + "a,b,c\n" * 17, ["line 8 has 3 and 12 more"]),
    "unclosed quote": ("a.csv", 'text,label\nok,1\n"good,pos\nbad,neg\n', ["line 3", "quotation mark", "never closes"]),
    "quote inside a quoted cell": ("a.csv", 'text,label\n"say "hi" x",1\n', ["line 2", "written twice"]),
    "huge cell": ("a.csv", f"text,label\n{'x' * MEGABYTE},1\n", ["line 2", "'text'", "1,000,001", "quotation mark"]),
    "nul": ("a.csv", CSV + "a\0b,c\n", ["NUL", "line 4"]),
    "wrong encoding": (
        "a.csv",
        "text\n좋은 영화\n".encode("cp949"),
        ["byte 5", "line 2", "data.encoding=cp949", "좋은"],
    ),
    "cp1252": ("a.csv", "text\nun café noir\n".encode("cp1252"), ["byte 11", "cp1252 reads", "café"]),
    "utf-16": ("a.csv", CSV.encode("utf-16"), ["UTF-16", "data.encoding=utf-16"]),
    "excel": ("a.csv", b"PK\x03\x04[Content_Types].xml", ["Excel", "CSV"]),
    "parquet named csv": ("a.csv", b"PAR1....", ["Parquet", ".parquet"]),
    "gzip": ("a.jsonl", b"\x1f\x8b\x08\x00", ["gzip", "unpack"]),
    "unknown suffix": ("a.xlsx", "x", [".xlsx", ".csv", "save the sheet"]),
    "no suffix": ("data", "x", ["no suffix", ".jsonl"]),
    "malformed json": ("a.json", '[{"text": "a"},\n {"text" "b"}]', ["line 2, column 10", "delimiter"]),
    "json lines named json": ("a.json", '{"a": 1}\n{"a": 2}\n', ["line 2", ".jsonl"]),
    "json object": ("a.json", '{"version": 1, "rows": []}', ["keys version, rows", '"data"']),
    "json of texts": ("a.json", '["a", {"text": "b"}, null]', ["record 1 is a text", "record 3 is null"]),
    "empty json array": ("a.json", "[]", ["not a single row"]),
    "json of empty objects": ("a.json", "[{}, {}]", ["all empty"]),
    "deep json": ("a.json", "[" * 100_000, ["a.json", "nested too deeply"]),
    "malformed json lines": (
        "a.jsonl",
        '{"a": 1}\n{"a": }\n{"a"\n[1]\n',
        ["line 2, column 7", "line 3", "line 4 is an array"],
    ),
    "json named jsonl": ("a.jsonl", '[\n{"a": 1},\n{"a": 2}\n]', [".json"]),
    "corrupt parquet": ("a.parquet", "text,label\n", ["a.parquet", "Parquet"]),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_told_what_is_wrong_and_the_way_out(tmp_path: Path, kind: str) -> None:
    name, content, words = BAD[kind]
    with pytest.raises(DataError) as caught:
        read(write(tmp_path, name, content))
    for word in words:
        assert word in str(caught.value)


def test_all_problems_of_a_file_come_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'text,text,\na,b\n"c"d,e,f\n"g')
    with pytest.raises(DataError) as caught:
        read(path)
    assert len(caught.value.problems) == 5
    assert all(problem.startswith("a.csv: ") for problem in caught.value.problems)


def test_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    train, test = write(tmp_path, "train.csv", ""), write(tmp_path, "test.csv", "a,a\n1,2\n")
    with pytest.raises(DataError) as caught:
        read_splits(str(train), str(tmp_path / "no.csv"), str(test))
    assert len(caught.value.problems) == 3


def test_the_limit_of_the_csv_module_is_left_as_it_was(tmp_path: Path) -> None:
    import csv

    before = csv.field_size_limit()
    assert len(str(read(write(tmp_path, "a.csv", f"text\n{'x' * 900_000}\n")).columns["text"][0])) == 900_000
    assert csv.field_size_limit() == before


def test_a_missing_file_gets_the_nearest_name(tmp_path: Path) -> None:
    write(tmp_path, "reviews.csv", CSV)
    with pytest.raises(DataError, match=r"does not exist; did you mean 'reviews\.csv'"):
        read(tmp_path / "review.csv")
    with pytest.raises(DataError, match="there is no folder"):
        read(tmp_path / "nowhere" / "reviews.csv")
    with pytest.raises(DataError, match=r"hub:owner/name"):
        read("owner/name")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    train = write(tmp_path, "train.csv", CSV)
    with pytest.raises(DataError, match=r"is a folder where one file is needed"):
        read_splits(str(train), None, str(tmp_path))


def test_a_name_that_is_too_long_is_no_traceback() -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read("x" * 5000 + ".csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_file_without_permission_says_how_to_allow_it(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, CSV)
    path.chmod(0)
    with pytest.raises(DataError, match="permission denied"):
        read(path)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], ["nothing in it", "understood are"]),
        (["cat/1.pdf", "dog/1.pdf"], ["2 .pdf files", "understood are"]),
        (["a.csv", "b.csv"], ["a.csv, b.csv", "none is called train"]),
        (["train.csv", "train.jsonl"], ["train.csv and train.jsonl", "keep one"]),
        (["train.csv", "val.csv", "dev.csv"], ["dev.csv and val.csv"]),
        (["only/1.txt"], ["1 .txt files", "understood are"]),
    ],
)
def test_a_folder_of_another_layout_is_told_what_was_found(tmp_path: Path, files: list[str], words: list[str]) -> None:
    for name in files:
        write(tmp_path, name, CSV)
    with pytest.raises(DataError) as caught:
        read_splits(str(tmp_path), None, None)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("delimiter", ["", ";;", '"', "\n"])
def test_a_delimiter_that_is_none_is_refused(tmp_path: Path, delimiter: str) -> None:
    with pytest.raises(DataError, match="not a single character"):
        read(write(tmp_path, "a.csv", CSV), delimiter=delimiter)


@pytest.mark.parametrize("encoding", ["cp99", "base64"])
def test_an_encoding_that_is_none_is_refused(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(DataError, match="is no text encoding"):
        read(write(tmp_path, "a.csv", CSV), encoding=encoding)


def test_folders_of_pictures_or_sounds_name_files_and_a_mixture_is_refused(tmp_path: Path) -> None:
    for name in ("train/cat/1.jpg", "train/dog/2.PNG", "test/cat/3.jpg", "test/dog/4.jpeg"):
        write(tmp_path / "pets", name, "x")
    splits, _ = read_splits(str(tmp_path / "pets"), None, None)
    assert [Path(str(file)).name for file in splits["train"].columns["file"]] == ["1.jpg", "2.PNG"]
    assert splits["test"].columns["label"] == ["cat", "dog"]
    for name in ("cat/1.jpg", "dog/2.wav"):
        write(tmp_path / "mixed", name, "x")
    with pytest.raises(DataError, match="keep pictures and sounds apart"):
        read_splits(str(tmp_path / "mixed"), None, None)
