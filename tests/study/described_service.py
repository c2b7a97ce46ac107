"""What Schemathesis is told about the service beyond its description: which names, conditions and files are right."""

import os
from pathlib import Path

import schemathesis
import yaml
from hypothesis import strategies as st

TEXT = Path(os.environ["STUDY_FILE"]).read_text()
FILES = st.integers(1, 3).map(lambda epochs: TEXT.replace("epochs: 2", f"epochs: {epochs}"))
METRICS = ("dsc.A.tumor", "-dsc.B.tumor", "retention.tumor", "auc.tumor", "dv_ml.A.tumor")
CONDITIONS = ("eps>1", "phi=='I' and batch_size==2", "not (labeling=='full')", "eps in (1, 2)")

schemathesis.openapi.format("dicestudy-name", st.sampled_from(("small", "none")))
schemathesis.openapi.format("dicestudy-where", st.sampled_from(CONDITIONS))
schemathesis.openapi.format("dicestudy-metric", st.sampled_from(METRICS))
schemathesis.openapi.format("dicestudy-front", st.sampled_from(("dsc.A.tumor,dsc.B.tumor",)))
schemathesis.openapi.format("dicestudy-file", FILES)


# All of a family, whose first name decides.
@schemathesis.serializer(
    "text/yaml", "text/x-yaml", "text/vnd.yaml", "text/yml", "application/yaml", "application/x-yaml"
)
def as_it_is(context, value):
    """A file's text: the tool would write it as a YAML string, in quotes."""
    return value.encode() if isinstance(value, str) else yaml.safe_dump(value).encode()


@schemathesis.hook
def before_call(context, case, kwargs):
    # A posted study would be launched for real, hundreds of times.
    if case.method.upper() == "POST" and str((case.query or {}).get("check", "false")).lower() in (
        "false",
        "0",
        "none",
    ):
        case.query = {**(case.query or {}), "check": "true"}
