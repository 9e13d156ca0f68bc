"""A person's machine in a folder: a home, a configuration with each kind of reference, and where programs write."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import search

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MARK = "SENTINEL"
# Put together, so that no line of source, which a traceback may quote, holds one.
KEYS = {
    "env": f"sk-{_MARK}-" + "7f3a9c1e5b8d2046a7e1c3f5",
    "file": f"sk-lm-{_MARK}:" + "Q7rT2mXw9KbZ4vNp8LcD",
    "command": f"{_MARK}/" + "pW3x+Yb6/Hn8Uj2kMq5vRt9z==",
    "keyring": f"hf_{_MARK}" + "b4Xk7Zq2Wm9Tn6Rp3Lv8Jc5H",
    "otlp": f"{_MARK}." + "g5Hs8Dk3~Fw6Bn9|Vx2Cz7Lm4",
    "proxy": f"{_MARK}" + "y2Ue5Io8Pa3Sd6Fg9Hj4Kl7Z",
}
"""A key of each kind of reference, of a collector and of a proxy; some of a shape that nobody knows."""

_PROVIDER = """# @package providers.by_{kind}
id: by_{kind}
type: {type}
endpoint: {url}
models: [{model}]
auth_token: {ref}
locality: loopback
tags: [local]
timeouts: {{connect_s: 2, first_token_s: 5, idle_s: 5, total_s: 5}}
"""


@dataclass(frozen=True)
class House:
    """Its folders and the environment of who lives there.

    Attributes:
        rooms: what is searched: home, configuration, state, caches, the folder that one works in.
        vault: where keys are kept; nobody but their references looks there.
        skipped: files that are not searched, because a key was put there.
    """

    rooms: Path
    vault: Path
    skipped: list[Path] = field(default_factory=list)

    @property
    def work(self) -> Path:
        return self.rooms / "work"

    @property
    def references(self) -> dict[str, str]:
        """What a profile's ``auth_token`` says, by kind."""
        reads = "import sys; print(open(sys.argv[1]).read())"
        return {
            "env": "{env: LMROUTE_SENTINEL}",
            "file": f"{{file: '{self.vault / 'file'}'}}",
            "command": f"{{command: ['{sys.executable}', -S, -E, -c, '{reads}', '{self.vault / 'command'}']}}",
            "keyring": "{keyring: sentinel}",
        }

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a process that is at home here."""
        places = {
            "HOME": "home",
            "USERPROFILE": "home",
            "LMROUTE_CONFIG_HOME": "config",
            "LMROUTE_STATE_HOME": "state",
            "LMROUTE_CACHE_DIR": "cache",
            "XDG_CACHE_HOME": "home/cache",
            "XDG_STATE_HOME": "home/state",
            "XDG_CONFIG_HOME": "home/config",
        }
        return {
            **{name: str(self.rooms / place) for name, place in places.items()},
            "LMROUTE_SENTINEL": KEYS["env"],
            "LMROUTE_OFFLINE": "1",
            "LMROUTE_DEBUG": "1",
            "HTTP_PROXY": f"http://somebody:{KEYS['proxy']}@127.0.0.1:9",
            "HTTPS_PROXY": f"http://somebody:{KEYS['proxy']}@127.0.0.1:9",
        }

    def furnish(self, url: str) -> None:
        """Make it, with a profile for each kind of reference whose server is at this URL."""
        for place in (self.rooms / "home", self.work, self.rooms / "config" / "provider", self.vault):
            place.mkdir(parents=True, exist_ok=True)
        for kind, ref in self.references.items():
            lm = kind == "file"
            self.configure(
                f"provider/by_{kind}",
                _PROVIDER.format(
                    kind=kind,
                    type="lmstudio" if lm else "openai_compatible",
                    url=url,
                    model="auto" if lm else "tern-3b",
                    ref=ref,
                ),
            )
        for kind in ("file", "command", "otlp"):
            self.keep(kind, KEYS[kind])

    def keep(self, name: str, key: str) -> Path:
        """Put a key into the vault."""
        path = self.vault / name
        path.touch(mode=0o600)
        path.write_text(key, encoding="utf-8")
        return path

    def configure(self, name: str, text: str) -> Path:
        """Write a file of the user's configuration: ``configure("provider/mine", "…")``."""
        path = (self.rooms / "config" / name).with_suffix(".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def search(self, told: Mapping[str, str | bytes]) -> None:
        """Look for every key in every file, and in what was told on streams and elsewhere, by its name.

        Raises:
            AssertionError: one was found; the message says where, and in which form.
        """
        keys = list(KEYS.values())
        found = search.sightings_below(self.rooms, keys, frozenset(self.skipped))
        for name, text in told.items():
            data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
            found += [f"{name}: {how}" for key in keys for how in search.sightings(data, key)]
        assert not found, "\n".join(found[:20])


def without_proxies() -> list[str]:
    """The names of variables that would lead elsewhere, in this process."""
    return [name for name in os.environ if name.upper().endswith("_PROXY") or name.startswith("OTEL_")]
