"""What jobs print: lines of ours and no others."""

import re

TABLE = re.compile(r"[\s│┃┏┡└━┌├╇┼─┐┴┘┤┓┩┬┳╈]*[│┃┏┡└━┌├╇┼─┴┘]")
"""Lines of tables and rules."""
OURS = re.compile(
    "|".join(
        (
            # every job
            r"(error|warning): ",
            r"interrupted(; .*)?$",
            r"\d+ more warnings of these kinds: ",
            r"Ray on this machine, \d+ logical CPUs(; what libraries print: \S+)?$",
            r"joined the Ray cluster at \S+",
            # bars on a terminal
            r"(ingest \S+: scene|[\w.-]+: (checked|rows)|(training|search): step) [━╸╺]+ +\d+/\d+ ",
            r"waiting for nodes: second [━╸╺]+ +\d+/\d+ ",
            # sources
            r"ingest \S+: scene \d+/\d+  \d+ frames, \d+ rejected$",
            r"\S+: (\w+: )?\d+ keys are not read: ",
            r"(rejected \S+: |all rejections: |in a recipe:$|sources:$|  [\w.-]+: \{|skipped: )",
            # training and search
            r"run \S+ in \S+$",
            r"training: step \d+/\d+  loss ",
            r"waiting for nodes: second \d+/\d+  (starting|[\d.]+ of [\d.]+ [CG]PUs(, |$))",
            r"search: step \d+/\d+(  trial \d+: .+)?$",
            r"continuing from \S+ at step \d+",
            r"run \S+ is finished: nothing to do$",
            r"all \d+ steps are done: only the registration is missing$",
            r"[\w.-]+: champion ",
            r"run \S+: new weights from position [\d,]+ on, in step [\d,]+$",
            r"weights change from position \d+ on: ",
            r"trial \d+: shares ",
            r"MLflow run \S+; ",
            r"train it: python jobs/train.py ",
            r"fetching \S+ version \d+ from \S+$",
            # evaluation
            r"[\w.-]+: (checked|rows) \d+/\d+$",
            r"report and answers: ",
            r"\S+, \w+: (not asked|cut|refused): \d+ of \d+ \(",
            r"\S+, \w+: \d+ of \d+ \(<?\d+ %\) predicted rotations are invalid, ",
            r"\S+: \d+ bad rows of \d+ left out$",
            r"\d+ items of \S+: ",
            # serving
            r"\S+ version \S+ is loaded$",
            r"serving \S+ on http://\S+ until Ctrl-C; ",
            r"  curl ",
            # the demo
            r"[A-Za-z, ]+ ─+$",
            r"how far is the point of \S+ at \(",
            r"(what it was trained on|answers over truth|answers on an image|these figures as JSON): +\S",
            r"the dashboard: +make dashboard$",
            r"ask over HTTP: +python jobs/serve_depth\.py, ",
        )
    )
)


def foreign(text: str) -> list[str]:
    """Lines of a job's output that are not known to be ours; the title of a table is the line above it."""
    lines = [line for line in text.splitlines() if line.strip()]
    return [
        line
        for number, line in enumerate(lines, 1)
        if not (OURS.match(line) or TABLE.match(line) or re.match(r"\s*[┏┌]", "".join(lines[number : number + 1])))
    ]
