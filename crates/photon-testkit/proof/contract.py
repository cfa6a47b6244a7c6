"""A service against its own OpenAPI document, by Schemathesis: what the scripts of all services share.

Environment: PHOTON_SEED; EXAMPLES, the most generated requests for an operation and phase; REPORTS, a directory.
"""

import collections
import json
import os
import pathlib
import threading

import schemathesis
from schemathesis.cli import schemathesis as command

SEED = os.environ["PHOTON_SEED"]
EXAMPLES = os.environ["EXAMPLES"]
REPORTS = pathlib.Path(os.environ["REPORTS"])

# No 5xx, no answer that the document does not describe, no bad data taken.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "use_after_free",
)
# Where every method is answered by its own route, and not by who asks.
METHODS = ("unsupported_method", "allow_header_conformance")

# How often which status came, and of which operation.
seen = collections.Counter()
by_operation = collections.defaultdict(collections.Counter)
counting = threading.Lock()


@schemathesis.hook
def after_call(context, case, response):
    with counting:
        seen[response.status_code] += 1
        by_operation[f"{case.method.upper()} {case.operation.path}"][response.status_code] += 1


def configuration(known, places):
    """schemathesis.toml: what is `known`, by name, and in which parameters and members of bodies it stands, by a pattern of
    paths. Strings of JSON are strings of TOML."""
    lines = []
    for name, values in known.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(values)}"]
    for path, where in places.items() if known else ():
        lines += ["[[operations]]", f"include-path-regex = {json.dumps(path)}"]
        lines += ["[operations.parameters]"]
        lines += [f'"{place}" = {{ dictionary = "{name}", probability = 0.8 }}' for place, name in where.items()]
    return "\n".join(lines) + "\n"


def explore(url, document, config, checks, phases):
    """Asks a service everything, and answers with 0 if nothing was found."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / "schemathesis.toml").write_text(config)
    (REPORTS / "openapi.json").write_text(document)
    arguments = ["--config-file", str(REPORTS / "schemathesis.toml"), "run", str(REPORTS / "openapi.json"), "--url", url]
    arguments += ["--seed", SEED, "--max-examples", EXAMPLES, "--checks", ",".join(checks), "--phases", phases]
    arguments += ["--continue-on-failure", "--request-timeout", "60", "--warnings", "off"]
    os.chdir(REPORTS)  # it leaves a cache there
    try:
        command.main(arguments, prog_name="schemathesis", standalone_mode=True)
    except SystemExit as ended:
        print("statuses:", ", ".join(f"{status}: {count}" for status, count in sorted(seen.items())))
        return ended.code
    raise AssertionError("schemathesis ends its process")


def judge_answers(least_good):
    """That the answers say something: none was 5xx, few were refused for being too many, enough were good."""
    total = sum(seen.values())
    good = sum(count for status, count in seen.items() if status < 300)
    assert not any(status >= 500 for status in seen), seen
    assert seen[429] <= total * 0.05, f"{seen[429]} of {total} were 429"
    assert good >= total * least_good, f"only {good} of {total} were answered with 2xx"


def judge_reach(document, most):
    """That at most so many operations of the document were never answered with 2xx."""
    paths = json.loads(document)["paths"]
    operations = (f"{method.upper()} {path}" for path, item in paths.items() for method in item)
    never = [each for each in operations if not any(status < 300 for status in by_operation[each])]
    print("never answered with 2xx:", ", ".join(never))
    assert len(never) <= most, never
