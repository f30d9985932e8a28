"""The reference application as the demo runs it: the desk lead is told by the demo's own web hook."""

from __future__ import annotations

import os

from handlers import OWNERS, application

HOOK, KEY = "DEMO_HOOK", "DEMO_HOOK_KEY"
"""Where the hook listens (host:port), and what signs what is sent to it."""

_LOG = "tell = [{ log = true }]"
_hook = f'tell = [{{ webhook = "http://{os.environ.get(HOOK, "127.0.0.1:9")}/lead", secret = "{KEY}", private = true }}]'
app = application(OWNERS.replace(_LOG, _hook, 1))
