"""A worker says why it failed even where its log cannot be written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_does_not_hide_the_error(tmp_path):
    command = [sys.executable, "-m", "nestor.runner.worker", "no-such-job", "no-result"]
    with Path("/dev/full").open("w") as full:
        process = subprocess.Popen(
            command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=full
        )
        # Its standard input stays open while it runs: it ends, with its group, once that closes.
        word = process.stdout.readline()
        process.communicate(timeout=60)
    event = json.loads(word)
    assert (event["event"], event["kind"]) == ("error", "FileNotFoundError")
    assert "no-such-job" in event["message"]
