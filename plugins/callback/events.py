"""Say what a play does as one JSON object a line: what `strixfleet` shows as progress is read from here."""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.callback import CallbackBase


DOCUMENTATION = """
name: events
type: stdout
short_description: One JSON object a line
description:
  - The form in which C(strixfleet) follows its plays. Results that C(no_log) hides stay hidden.
"""


class CallbackModule(CallbackBase):
    """Print events; texts of failures are kept, values of results are not."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "strixfleet.fleet.events"

    def _say(self, event: str, **values: Any) -> None:
        self._display.display("strixfleet-event: " + json.dumps({"event": event, **values}), screen_only=True)

    def _result(self, event: str, result: Any, **values: Any) -> None:
        data = result._result
        host = result._host.get_name()
        task = result._task.get_name().strip()
        message = "" if data.get("censored") else str(data.get("msg") or "")
        detail = "" if data.get("censored") else str(data.get("stderr") or "")
        self._say(event, host=host, task=task, message=message, detail=detail[-2000:], **values)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._say("play", name=play.get_name().strip())

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ARG002 - the API's
        self._say("task", name=task.get_name().strip())

    def v2_runner_on_ok(self, result: Any) -> None:
        names = [] if result._result.get("censored") else result._result.get("changed_names") or []
        self._result("ok", result, changed=bool(result._result.get("changed")), names=names)
        if self._display.verbosity and "diff" in result._result:
            self._say("diff", text=self._get_diff(result._result["diff"]))

    def v2_on_file_diff(self, result: Any) -> None:
        data = result._result
        rows = data.get("results", [data])
        for row in rows:
            if row.get("diff") and row.get("changed") and not data.get("censored"):
                self._say("diff", text=self._get_diff(row["diff"]))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            self._result("failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._result("unreachable", result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        self._result("item_failed", result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        rows = {host: stats.summarize(host) for host in sorted(stats.processed)}
        self._say("stats", hosts=rows)
