"""The form of a differential case. The tables are cases_copy.py and cases_steps.py."""

import dataclasses
import fnmatch
import re


ANY = object()


@dataclasses.dataclass
class Known:
    """A difference where kasane is right: `row` of reference/dockerfile.md says so. `kasane` is the value it must have."""
    builder: str
    where: str   # path pattern, or "config"
    field: str   # pattern
    kasane: object
    row: str
    why: str

    def covers(self, builder, where, field, mine):
        return (builder == self.builder and fnmatch.fnmatchcase(where, self.where) and
                fnmatch.fnmatchcase(field, self.field) and self.kasane in (mine, ANY))




@dataclasses.dataclass
class Case:
    name: str
    rows: str                # rows of reference/dockerfile.md that it shows
    dockerfile: str
    context: dict = dataclasses.field(default_factory=dict)
    args: tuple = ()         # options of `build`; all builders run inside the context
    file: str = "Dockerfile"
    known: tuple = ()
    skip: dict = dataclasses.field(default_factory=dict)    # {builder: why it cannot build this}
    expect: dict = dataclasses.field(default_factory=dict)  # {path: {field or "text": value}, or None: absent}
    config: dict = dataclasses.field(default_factory=dict)  # {key: value} that kasane's config must have

    def __post_init__(self):
        if not re.fullmatch(r"[a-z0-9_]+", self.name):
            raise ValueError(self.name)


# Of every buildah build with a RUN: what its runtime mounts over leaves an empty file.
ALWAYS = tuple(Known("buildah", f"/etc/{name}", "present", False, "N02", "it keeps mount stubs")
               for name in ("hostname", "hosts", "resolv.conf"))


# WORKDIR "/" is the absence of a working directory; some builders write it, some do not.
def normal_config(config):
    if config.get("WorkingDir") == "/":
        config = {k: v for k, v in config.items() if k != "WorkingDir"}
    return config
