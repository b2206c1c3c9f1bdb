"""What every test can rely on."""

from __future__ import annotations

import signal

pytest_plugins = ["helpers_stages"]

# A shell starts background jobs with SIGINT ignored, and children inherit that: the tests that interrupt a
# process must not depend on how the suite was started.
signal.signal(signal.SIGINT, signal.default_int_handler)
