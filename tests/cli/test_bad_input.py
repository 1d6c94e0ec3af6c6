"""Every kind of bad input ends with one clear message, exit code 2, no traceback, and a disk as it was before."""

import io
import shlex
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cli.conftest import Whet, assert_told, tree
from tests.conftest import sentences

ROWS = sentences(40)


def table(*rows: tuple[str, ...], header: str = "text,label") -> bytes:
    """A csv file."""
    return "\n".join([header, *(",".join(row) for row in rows)]).encode() + b"\n"


def scores(*odd: str) -> bytes:
    """Texts with numbers, the first of which are ``odd``."""
    cells = [*odd, *(f"{number / 7:.3f}" for number in range(len(odd), len(ROWS)))]
    return table(*((text, cell) for (text, _), cell in zip(ROWS, cells, strict=True)), header="text,score")


def flags(odd: str) -> bytes:
    """Texts with two columns of zeros and ones, one cell of which is ``odd``."""
    rows = [(text, str(i % 2), odd if i == 7 else str(i % 3 % 2)) for i, (text, _) in enumerate(ROWS)]
    return table(*rows, header="text,toxic,rude")


def workbook() -> bytes:
    """What a spreadsheet program saves."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return content.getvalue()


GOOD = table(*ROWS)


@dataclass(frozen=True)
class Case:
    """One kind of bad input."""

    name: str
    arguments: str
    """Of the command line; {model} and {run} are the tiny model and its finished run."""
    words: tuple[str, ...]
    """What the message says: the value, the reason, the way out."""
    files: Mapping[str, bytes | str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return self.name


def data(name: str, content: bytes | str, *words: str, file: str = "data.csv", options: str = "") -> Case:
    """A data file to train on."""
    return Case(name, f"train {file} {options}", words, {file: content})


def given(name: str, options: str, *words: str) -> Case:
    """Options beside good data."""
    return data(name, GOOD, *words, options=options)


def recipe(name: str, content: str, *words: str) -> Case:
    """A recipe beside good data."""
    return Case(name, "train recipe.yaml", words, {"recipe.yaml": content, "data.csv": GOOD})


CASES = [
    # files
    Case("missing file", "train date.csv", ("date.csv", "does not exist", "mean 'data.csv'"), {"data.csv": ""}),
    Case("missing folder", "train no/data.csv", ("no/data.csv", "there is no folder no")),
    data("empty file", b"", "data.csv", "is empty", "copy it once more"),
    data("header only", b"text,label\n", "data.csv", "not a single row"),
    data(
        "another encoding",
        "글,라벨\n좋다,가\n".encode("cp949"),
        *("is not utf-8", "line 1", "cp949 reads that line as '글,라벨'", "--set data.encoding=cp949"),
    ),
    given("unknown encoding", "--set data.encoding=utf-9", "'utf-9'", "did you mean 'utf-8'"),
    data("control characters", b"text,label\na\0b,c\n", "NUL character in line 2", "data.encoding=utf-16-le"),
    data("ragged rows", b"text,label\na,b\na,b,c\nd\n", "2 cells", "line 3 has 3", "line 4 has 1", "quotation marks"),
    data("unclosed quote", b'text,label\na,b\n"c,d\ne,f\n', "line 3", "quotation mark that never closes"),
    data("endless cell", b"text,label\n" + b"a" * 10_000_000 + b",b\n", "line 2", "'text'", "10,000,000", "cut"),
    data("repeated header", b"text,text,label\na,b,c\n", "'text'", "2 times", "rename"),
    data("unnamed column", b",text,label\n0,a,b\n", "no name for column 1", "index=False"),
    data("workbook named csv", workbook(), "data.csv", "Excel workbook", "save the sheet as CSV"),
    data("workbook", workbook(), "table.xlsx", "save the sheet as CSV", file="table.xlsx"),
    data("damaged parquet", b"PAR1 and no more", "not a readable Parquet file", file="table.parquet"),
    data(
        "broken json lines",
        '{"text": "a", "label": "b"}\n{"text": a}\n{}\n[1]\n',
        *("line 2, column 10", "line 4 is an array", "every line must be an object"),
        file="rows.jsonl",
    ),
    data("broken json", '[{"text": "a"', "rows.json", "not valid JSON at line 1", file="rows.json"),
    Case(
        "folder with nothing readable",
        "train stuff",
        ("stuff", "2 .pdf files", "understood are", "a folder for each class"),
        {"stuff/a.pdf": "", "stuff/b.pdf": ""},
    ),
    Case(
        "folder of files without names",
        "train stuff",
        ("a.csv, b.csv", "none is called train"),
        {"stuff/a.csv": "", "stuff/b.csv": ""},
    ),
    # columns and rows
    data(
        "no label column", table(*((text,) for text, _ in ROWS), header="text"), "looks like a label", "data.label=NAME"
    ),
    data(
        "no text column",
        table(*((str(i), "ab"[i % 2]) for i in range(40)), header="n,label"),
        "looks like text",
    ),
    given("missing column", "--set data.label=stars", "column 'stars' not in data.csv", "known are: text, label"),
    given("misspelt column", "--set data.label=lable", "column 'lable' not in data.csv", "did you mean 'label'?"),
    given("both misspelt", "--set data.label=lable --set data.text=txt", "'lable'", "'txt'", "mean 'text'"),
    given("text is the label", "--set data.text=text --set data.label=text", "'text'", "both text and label"),
    given("three texts", "--set data.text=[a,b,c]", "data.text", "more than two columns", "pairs"),
    data(
        "empty texts",
        table(*ROWS, ("", "good"), (" ", "bad")),
        "2 rows have no text",
        "lines 42, 43",
        "incomplete=drop",
    ),
    data("empty label", table(*ROWS, ("a film", "")), "1 row has no label", "line 42", "data.incomplete=drop"),
    data("one class only", table(*((text, "good") for text, _ in ROWS)), "the only class is 'good'", "two classes"),
    data(
        "a class of one row",
        table(*ROWS, ("a fine day", "goood")),
        "'goood' (line 42)",
        "learned and tested",
        "add rows",
    ),
    Case(
        "label that training has not",
        "train data.csv --set data.test=test.csv",
        ("label 'godo' in test.csv, line 3", "did you mean 'good'?"),
        {"data.csv": GOOD, "test.csv": table(("the night", "bad"), ("the morning", "godo"))},
    ),
    Case(
        "test file of other columns",
        "train data.csv --set data.test=test.csv",
        ("column 'label' not in test.csv", "did you mean 'labels'"),
        {"data.csv": GOOD, "test.csv": table(("the night", "bad"), header="text,labels")},
    ),
    Case(
        "test file is the training file",
        "train data.csv --set data.test=data.csv",
        ("every row of data.csv", "two different files"),
        {"data.csv": GOOD},
    ),
    data("numbers that are not finite", scores("nan", "inf"), "'nan' (line 2)", "'inf' (line 3)", "no finite number"),
    data(
        "words in a regression",
        scores("high", "1e999"),
        *("column 'score'", "'high' (line 2)", "'1e999' (line 3)", "correct or delete"),
        options="--set data.label=score --set task.name=text_classification --set task.problem=regression",
    ),
    data(
        "a two among zeros and ones",
        flags("2"),
        *("column 'rude'", "'2' (line 9)", "not 0 or 1"),
        options="--set data.label=[toxic,rude]",
    ),
    data("three rows", table(*ROWS[:3]), "one row", "'bad' (line 3)"),
    data(
        "four texts for three sides", table(*(ROWS[:2] * 2)), "cannot be split", "2 different texts", "data.validation"
    ),
    # options
    given("unknown option", "--set training.epoch=3", "training.epoch: unknown option", "did you mean 'epochs'?"),
    given("unknown section", "--set trainning.epochs=3", "trainning: unknown option", "did you mean 'training'?"),
    given("option of another section", "--set epochs=3", "epochs: unknown option", "'training.epochs'"),
    given("wrong type", "--set training.epochs=many", "training.epochs: 'many'", "valid integer"),
    given("truth value for a number", "--set training.epochs=true", "training.epochs: true", "valid integer"),
    given("out of bounds", "--set training.learning_rate=-1", "training.learning_rate: -1", "greater than 0"),
    given("option of another method", "--method full --set method.rank=8", "method.rank", "'full'", "belongs to lora"),
    given("option of no method", "--method lora --set method.rnk=8", "method.rnk", "did you mean 'rank'?"),
    given("option without its method", "--set method.rank=8", "method.name: is missing", "known are: adapter"),
    given("option of no task", "--set task.sampels=2", "task.sampels", "every task", "did you mean 'samples'?"),
    given("option of another task", "--set task.samples=2", "task.samples", "belongs to causal_lm", "set task.name"),
    given("option that is needed", "--method mask", "method.train", "is missing"),
    given(
        "adapter for another model",
        "--method lora --set surgery.drop_blocks=1",
        "surgery",
        "'lora'",
        "leave surgery out",
    ),
    given("nothing to pull back", "--method lora --set training.l2_sp=1", "training.l2_sp", "leave it out"),
    given("nothing to pull back to", "--method scratch --set training.l2_sp=1", "training.l2_sp", "keeps nothing of"),
    given("nothing to mix with", "--method ia3 --set training.mixes=[0.5]", "training.mixes", "leave it out"),
    given("too many blocks dropped", "--set surgery.drop_blocks=60", "surgery.drop_blocks", "leave none"),
    given("unknown surgery", "--set surgery.drop_block=1", "surgery.drop_block", "did you mean 'drop_blocks'?"),
    given("unknown method", "--method lroa", "method 'lroa' is not known; did you mean 'lora'?"),
    given("unknown task", "--task classify", "task 'classify' is not known", "text_classification"),
    given("unknown metric", "--set training.metric=acuracy", "'acuracy'", "single_label", "accuracy, macro_f1"),
    data(
        "metric of two classes",
        table(*ROWS, *((f"{text} or", "fair") for text, _ in ROWS)),
        *("'f1' is not measured", "known are"),
        options="--set training.metric=f1",
    ),
    given("unknown schedule", "--set training.schedule=cosin", "'cosin' is not a schedule", "did you mean 'cosine'?"),
    given("epochs and steps", "--set training.epochs=1 --set training.steps=5", "both set", "keep one"),
    given("momentum of AdamW", "--set training.momentum=0.9", "training.momentum", "'sgd' only", "leave it out"),
    given(
        "warm-up before a rise",
        "--set training.warmup=0.1 --set training.schedule=one_cycle",
        *("training.warmup", "'one_cycle' rises by itself", "leave warmup out"),
    ),
    data(
        "label smoothing of a regression",
        scores(),
        *("task.label_smoothing", "regression", "leave it out"),
        options="--set task.name=text_classification --set task.label_smoothing=0.1",
    ),
    given(
        "weights for no class",
        "--set 'task={name: text_classification, class_weights: {good: 1, bda: 2}}'",
        *("class 'bad' has none", "'bda' is not a class", "did you mean 'bad'?"),
    ),
    given("too long for the model", "--task text_classification --set task.max_length=99", "99 tokens", "at most 24"),
    given("shares of everything", "--set data.validation_share=0.5 --set data.test_share=0.5", "no rows are left"),
    given("no assignment", "--set training.epochs", "--set training.epochs", "a.b=c"),
    given("broken list", "--set data.label=[a", "data.label=[a", "not valid YAML"),
    given("unknown option of the command", "--epochs 3", "No such option", "--epochs"),
    # recipes
    Case("missing recipe", "train recipes.yaml", ("recipes.yaml", "mean 'recipe.yaml'"), {"recipe.yaml": ""}),
    recipe("broken YAML", "data: [data.csv\n", "recipe.yaml", "not valid YAML", "line 2"),
    recipe("key twice", "data: data.csv\nseed: 1\nseed: 2\n", "'seed' stands twice", "line 3"),
    recipe("a list", "- data.csv\n", "recipe.yaml", "a recipe is a mapping"),
    recipe("no data", "seed: 1\n", "data: is missing", "whet train reviews.csv"),
    recipe(
        "several mistakes",
        "data: data.csv\nsede: 1\nmethod: lroa\ntraining: {epochs: 0, optimizer: adam}\n",
        *("sede: unknown option", "'lroa' is not known", "training.epochs: 0", "training.optimizer: 'adam'"),
    ),
    recipe("a tag that runs code", "data: !!python/name:os.system\n", "not valid YAML", "python/name"),
    # methods that do not fit the model
    given(
        "more blocks than there are", "--method last_blocks --set method.count=9", "9 blocks", "model has 2", "'full'"
    ),
    given("target of nothing", "--method lora --set method.targets=['*.qkv']", "'*.qkv' matches no layer", "end in"),
    # models
    given("no such model folder", "--model ./no/model", "model './no/model'", "no such folder"),
    given("model is a file", "--model data.csv", "model 'data.csv'", "is a file", "folder that holds it"),
    # runs
    Case("resume of no run", "resume stuff", ("stuff is not a run folder", "recipe.yaml"), {"stuff/a.txt": ""}),
    Case("resume of nothing", "resume stuff", ("stuff is not a folder", "whet train")),
    Case("resume of a finished run", "resume {run}", ("has finished", "whet train")),
    Case(
        "predict without a column",
        "predict {run} a.csv",
        ("column 'text' not in", "mean 'texts'"),
        {"a.csv": "texts\na\n"},
    ),
    Case("predict from no file", "predict {run} b.csv", ("b.csv", "does not exist", "mean 'a.csv'"), {"a.csv": ""}),
    Case("predict an empty text", "predict {run} good ''", ("text 2 is empty",)),
    Case("predict an empty cell", "predict {run} a.csv", ("line 3", "no text"), {"a.csv": "n,text\n1,a film\n2,\n"}),
    Case(
        "predict two files", "predict {run} a.csv b.csv", ("'a.csv' is a file", "one file"), {"a.csv": "", "b.csv": ""}
    ),
    Case("predict texts to a file", "predict {run} good --to b.csv", ("--to", "rows of a file")),
    Case(
        "predict over a file",
        "predict {run} a.csv --to a.csv",
        ("a.csv exists", "another name"),
        {"a.csv": "text\na\n"},
    ),
    Case("predict to a workbook", "predict {run} a.csv --to b.xlsx", ("b.xlsx", ".csv, .tsv"), {"a.csv": "text\na\n"}),
    Case(
        "predict twice in one file",
        "predict {run} a.csv",
        ("column 'prediction' stands in a.csv already", "rename"),
        {"a.csv": "text,prediction\na,b\n"},
    ),
    Case(
        "evaluate an unknown label",
        "evaluate {run} a.csv",
        ("label 'godo' in a.csv, line 2", "did you mean 'good'?"),
        {"a.csv": "text,label\na film,godo\n"},
    ),
    Case("evaluate without labels", "evaluate {run} a.csv", ("column 'label' not in a.csv",), {"a.csv": "text\na\n"}),
    # the command line itself
    Case("no source", "train", ("Missing argument", "source")),
    Case("unknown command", "trian data.csv", ("No such command 'trian'",)),
    Case("explain the unknown", "explain lorra", ("'lorra'", "did you mean 'lora'?")),
]


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_bad_input_is_told_in_words_and_leaves_no_trace(
    case: Case, whet: Whet, folder: Path, tiny_model: Path, finished_run: Path
) -> None:
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = tree(folder)
    arguments = shlex.split(case.arguments)
    if arguments[0] == "train" and len(arguments) > 1 and "--model" not in arguments:
        arguments += ["--model", "{model}"]
    places = {"{model}": str(tiny_model), "{run}": str(finished_run)}
    ended = whet(*(places.get(argument, argument) for argument in arguments))
    assert ended.code == 2, ended
    assert_told(ended, *case.words)
    assert tree(folder) == before
